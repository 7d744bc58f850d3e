"""A medium's bytes as a local file, for programs and libraries that read files."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from infra import objects
from ingest.decode.failure import MediaError
from ingest.records import Media


@contextmanager
def local_file(media: Media) -> Iterator[Path]:
    """The medium's own file where it lies on this machine, else a copy for the time of the block.

    Raises MediaError: missing; StorageError where the store itself fails.
    """
    if media.payload is None and (path := objects.local_path(media.uri)) is not None:
        if not path.is_file():
            raise MediaError("missing", str(media.key))
        yield path
        return
    with tempfile.NamedTemporaryFile(suffix=PurePosixPath(media.key).suffix) as file:
        file.write(media.payload if media.payload is not None else _fetch(media))
        file.flush()
        yield Path(file.name)


def _fetch(media: Media) -> bytes:
    try:
        return objects.read_bytes(media.uri)
    except objects.MissingError as error:
        raise MediaError("missing", str(media.key)) from error
