"""Speech models that the tests of this folder share."""

from pathlib import Path

import pytest

from tests.ingest.speech.windows import demo_checkpoint
from tests.ingest.speech_model import write_random_whisper


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's own model, as a checkpoint of openai-whisper."""
    return demo_checkpoint(tmp_path_factory.mktemp("demo"))


@pytest.fixture(scope="module")
def random_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A multilingual model of random weights."""
    return write_random_whisper(tmp_path_factory.mktemp("random") / "random.pt", multilingual=True)
