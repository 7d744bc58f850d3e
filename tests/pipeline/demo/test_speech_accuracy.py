"""The shipped speech model on narration it never heard, through the product's own transcribe stage."""

import json
import statistics
from dataclasses import replace
from pathlib import Path

import pytest

from ingest.records import Media
from ingest.settings import Frames, Speech
from ingest.sources.yt_temporal import YTTemporal
from ingest.stages.frames import limits
from ingest.stages.transcribe import Transcribe
from pipeline.demo.corpus import CorpusSize, make_corpus
from pipeline.demo.speech_model import write_checkpoint
from pipeline.demo.speech_scores import start_errors_s, word_errors

NUM_VIDEOS = 24


@pytest.fixture(scope="module")
def narrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Held-out videos, whose event combinations are in no training example, with sound."""
    root = tmp_path_factory.mktemp("narrated")
    size = CorpusSize(captioned=0, narrated=0, stills=0, val=0, test=NUM_VIDEOS, twins=0)
    make_corpus(root, size, seed=9)
    return root


def test_at_most_one_word_in_ten_is_wrong_and_segments_start_within_half_a_second(
    narrated: Path, tmp_path: Path
) -> None:
    write_checkpoint(tmp_path / "speech.pt")
    source = YTTemporal(str(narrated / "held_out"), "meta_data/yttemporal_test.csv", stream="test")
    told = [media for shard in source.shards(64) for media in source.read(shard) if isinstance(media, Media)]
    assert len(told) == NUM_VIDEOS
    transcribe = Transcribe(Speech(model=str(tmp_path / "speech.pt")), limits(Frames()))
    heard = {media.key: media for media in transcribe(replace(media, utterances=None) for media in told)}  # type: ignore[union-attr]
    spoken = json.loads((narrated / "held_out" / "captions.json").read_text())
    wrong = words = 0
    starts: list[float] = []
    for media in told:
        found = heard[media.key].utterances or ()  # type: ignore[union-attr]
        errors, count = word_errors(" ".join(spoken[media.key]["A"]), " ".join(u.text for u in found))
        wrong, words = wrong + errors, words + count
        starts += start_errors_s([u.start_s for u in media.utterances or ()], [u.start_s for u in found])
    assert wrong / words <= 0.10
    assert statistics.median(starts) <= 0.5
