"""A store that the tests of the loop read."""

import pytest

from tests.ingest.clips import write_stream


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The URI of 24 clips of each stream of the tiny recipe."""
    folder = str(tmp_path_factory.mktemp("store"))
    for stream in ("narrated", "captioned"):
        write_stream(folder, stream, 24)
    return folder
