"""The same weights through CTranslate2 say the same at the same times."""

from pathlib import Path

import pytest

from infra.errors import UserError
from ingest.settings import Speech
from ingest.speech.recogniser import Recogniser, Transcript
from ingest.speech.whisper_engine import WhisperModel
from tests.ingest.speech.windows import demo_checkpoint, narrated_window, sentences


def test_both_engines_say_the_same_words_at_the_same_times(tmp_path: Path) -> None:
    from ingest.speech.faster_whisper_engine import FasterWhisperModel
    from tests.ingest.ctranslate2_model import convert

    model = demo_checkpoint(tmp_path)
    ours = Speech(model=str(model), temperatures=(0.0,), word_times=True)
    theirs = Speech(
        "faster-whisper", str(convert(model, tmp_path / "converted")), temperatures=(0.0,), word_times=True
    )
    media = [[narrated_window(0, 2), narrated_window(4, 1, start_s=40.0)], [narrated_window(9, 3)]]
    expected = Recogniser(WhisperModel(ours), ours).transcripts(media)
    engine = Recogniser(FasterWhisperModel(theirs), theirs)
    assert engine.origin == "faster-whisper/converted"
    found = engine.transcripts(media)
    assert [segment.text for segment in found[1].segments] == sentences(9, 3)
    assert told(found) == told(expected)


def told(transcripts: list[Transcript]) -> list[object]:
    return [
        (word.text, pytest.approx(word.start_s, abs=0.021), pytest.approx(word.end_s, abs=0.021))
        for transcript in transcripts
        for segment in transcript.segments
        for word in segment.words
    ]


def test_draws_that_no_second_run_would_repeat_are_refused(tmp_path: Path) -> None:
    from ingest.speech.faster_whisper_engine import FasterWhisperModel

    with pytest.raises(UserError, match=r"speech\.temperatures"):
        FasterWhisperModel(Speech("faster-whisper", str(tmp_path)))
    with pytest.raises(UserError, match="no such folder"):
        FasterWhisperModel(Speech("faster-whisper", str(tmp_path / "absent"), temperatures=(0.0,)))
