"""Files with sound through the transcribe stage: whose words are whose, and who is set aside."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from ingest.decode.isolation import Limits
from ingest.decode.sound import SAMPLE_RATE
from ingest.records import Media, Reject, Utterance, stable_uid
from ingest.settings import Speech
from ingest.stages.fetch import content_hash
from ingest.stages.filters import Fitting
from ingest.stages.transcribe import Transcribe, speech_engine
from tests.ingest.media_files import spoken, write_video
from tests.ingest.speech.windows import demo_checkpoint, sentences
from tests.ingest.speech_model import write_random_whisper

LIMITS = Limits(120.0, 4096)


def media(path: Path, **changes: object) -> Media:
    made = Media(stable_uid("t", path.name), "t", path.name, "video", str(path))
    return replace(made, **changes)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("told")


@pytest.fixture(scope="module")
def videos(folder: Path) -> list[Media]:
    """Three films of one, two and three sentences, apart enough for windows of their own."""
    sounds = [spoken(*sentences(5 * n, n + 1), gap_s=2.6) for n in range(3)]
    return [media(write_video(folder / f"{n}.mp4", sound=sound)) for n, sound in enumerate(sounds)]


def test_transcripts_return_to_their_media_whatever_the_order_and_batch(
    folder: Path, videos: list[Media]
) -> None:
    speech = Speech(model=str(demo_checkpoint(folder)), temperatures=(0.0,))
    silent = media(write_video(folder / "silent.mp4"))
    told = media(Path("told.mp4"), utterances=(Utterance("Said before.", 0.0, 1.0),))
    earlier = Reject("uid", "source", "bad_row", "")
    given = [earlier, *videos, silent, told]
    for order, size in ((given, 16), ([given[n] for n in (5, 3, 0, 1, 4, 2)], 2), (given[::-1], 1)):
        found = {m.uid: m for m in Transcribe(replace(speech, batch_windows=size), LIMITS)(order)}
        assert len(found) == len(given)
        for number, video in enumerate(videos):
            heard = found[video.uid]
            assert isinstance(heard, Media)
            assert [u.text for u in heard.utterances or ()] == sentences(5 * number, number + 1)
            assert all(before.end_s <= after.start_s for before, after in pairwise(heard.utterances or ()))
        assert found[told.uid] == told
        assert found["uid"] == earlier
        soundless = found[silent.uid]
        assert isinstance(soundless, Reject)
        assert soundless.reason == "no_sound"


def test_a_medium_in_another_language_is_set_aside_with_what_was_heard(
    folder: Path, videos: list[Media]
) -> None:
    model = write_random_whisper(folder / "random.pt", multilingual=True)
    speech = Speech(model=str(model), language=None, languages=("en", "fr"), temperatures=(0.0,))
    (found,) = Transcribe(speech, LIMITS)(videos[:1])
    assert isinstance(found, Reject)
    assert (found.stage, found.reason) == ("transcribe", "language")
    heard = speech_engine(replace(speech, languages=()))
    # a model of random weights is as sure of a language as it happens to be
    assert "is spoken (probability 0." in found.detail or "(probability 1.00)" in found.detail
    assert found.detail.endswith("wanted: en, fr")
    assert heard is speech_engine(replace(speech, languages=()))  # one model per process and setting
    assert found.content == content_hash(videos[0]) != ""


def test_a_medium_without_words_is_set_aside_with_the_hash_of_its_bytes(folder: Path) -> None:
    quiet = media(write_video(folder / "quiet.mp4", sound=np.zeros(5 * SAMPLE_RATE, np.float32)))
    speech = Speech(model=str(demo_checkpoint(folder)), temperatures=(0.0,))
    (found,) = Transcribe(speech, LIMITS)([quiet])
    assert isinstance(found, Reject)
    assert (found.reason, found.content) == ("no_speech", content_hash(quiet))


def test_what_does_not_fit_is_not_listened_to(videos: list[Media]) -> None:
    absent = Speech(model="/absent.pt")  # would end the run if it were loaded
    found = Transcribe(absent, LIMITS, Fitting(min_duration_s=1_000.0))(videos)
    assert [item.reason for item in found if isinstance(item, Reject)] == ["too_short"] * 3
