"""Where speech is, what sentences it makes, and that a window's text does not depend on its neighbours."""

from pathlib import Path

import numpy as np
import pytest
import torch
from whisper.tokenizer import get_tokenizer

from infra.errors import UserError
from ingest.records import Word
from ingest.settings import Speech
from ingest.speech.engine import SpeechWindow
from ingest.speech.sentences import Segment, sentences_of_segments, sentences_of_words
from ingest.speech.voice_activity import Span, speech_spans, windows
from ingest.speech.whisper_engine import WhisperEngine, timed_texts
from tests.ingest.media_files import RATE, spoken
from tests.ingest.speech_model import write_random_whisper


def test_speech_is_found_where_it_was_put() -> None:
    samples = (spoken("A red circle floats.", "A blue square.", lead_s=1.0, gap_s=1.5) * 32767).astype(
        np.int16
    )
    spans = speech_spans(samples)
    assert len(spans) == 2
    assert spans[0].start_s == pytest.approx(1.0, abs=0.2)
    assert spans[1].start_s - spans[0].end_s == pytest.approx(1.5, abs=0.4)
    assert speech_spans(np.zeros(RATE, np.int16)) == []


def test_spans_share_a_window_until_it_is_full_or_a_long_silence_comes() -> None:
    spans = [Span(1, 4), Span(5, 8), Span(8.5, 11), Span(20, 21)]
    cut = windows(spans, duration_s=21.1, longest_s=8.0)
    assert [(w.start_s, w.end_s) for w in cut] == [
        pytest.approx(w) for w in [(0.7, 8.3), (8.2, 11.3), (19.7, 21.1)]
    ]


def test_a_span_longer_than_a_window_is_cut_into_equal_parts() -> None:
    cut = windows([Span(10, 80)], duration_s=100, longest_s=30)
    assert len(cut) == 3
    assert max(w.end_s - w.start_s for w in cut) <= 30


def test_words_become_sentences_at_end_marks_and_long_pauses() -> None:
    told = [Word("One", 0.0), Word("two.", 0.4), Word("", 0.6), Word("Three", 1.0), Word("four", 9.0)]
    found = sentences_of_words(told, "provider")
    times = [(u.text, u.start_s, u.end_s) for u in found]
    assert times == [("One two.", 0.0, 1.0), ("Three", 1.0, 2.0), ("four", 9.0, 10.0)]


def test_a_segment_of_two_sentences_shares_its_time_by_letters() -> None:
    first, second = sentences_of_segments([Segment("Aaaa. Bbbb.", 10.0, 21.0)], "whisper")
    assert (first.text, second.text) == ("Aaaa.", "Bbbb.")
    assert (first.start_s, first.end_s, second.end_s) == pytest.approx((10.0, 15.0, 21.0))


def test_a_sentence_runs_on_over_a_segment_border() -> None:
    segments = [
        Segment("The red", 0.0, 1.0),
        Segment("circle floats.", 1.1, 2.0),
        Segment("It ends.", 2.0, 3.0),
    ]
    assert [u.text for u in sentences_of_segments(segments, "w")] == ["The red circle floats.", "It ends."]


def test_time_tokens_close_and_open_texts() -> None:
    tokenizer = get_tokenizer(multilingual=False)

    def at(seconds: float) -> int:
        return int(tokenizer.timestamp_begin + round(seconds / 0.02))

    tokens = [
        at(0.5),
        *tokenizer.encode(" One."),
        at(1.5),
        at(2.0),
        *tokenizer.encode(" Two."),
        tokenizer.eot,
    ]
    assert timed_texts(tokens, tokenizer, 3.0) == [("One.", 0.5, 1.5), ("Two.", 2.0, 3.0)]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> WhisperEngine:
    model = write_random_whisper(tmp_path_factory.mktemp("whisper") / "random.pt")
    # A random model never passes Whisper's checks, so each window goes through one seeded fallback.
    return WhisperEngine(Speech(model=str(model), temperatures=(0.0, 0.7), batch_windows=3, no_speech=1.1))


def test_a_window_gets_its_own_text_wherever_it_stands_in_the_batch(engine: WhisperEngine) -> None:
    generator = np.random.default_rng(0)
    sounds = [generator.normal(0, 0.02 * 3**n, 16_000 * (n + 1)).astype(np.float32) for n in range(5)]
    asked = [SpeechWindow(f"w{n}", 100.0 * n, sound) for n, sound in enumerate(sounds)]
    found = engine.recognise(asked)
    texts = {window.key: segments for window, segments in zip(asked, found, strict=True)}
    assert len({str(segments) for segments in found}) == 5  # five windows, five texts
    for order in ([4, 2, 0, 1, 3], [1, 0]):
        again = engine.recognise([asked[n] for n in order])
        assert [texts[f"w{n}"] for n in order] == again
    for number, segments in enumerate(found):
        assert all(100 * number <= s.start_s <= s.end_s <= 100 * number + number + 1 for s in segments)


def test_recognising_leaves_the_random_state_as_it_was(engine: WhisperEngine) -> None:
    before = torch.random.get_rng_state()
    engine.recognise([SpeechWindow("w", 0.0, np.zeros(8000, np.float32))])
    assert torch.equal(before, torch.random.get_rng_state())


def test_what_is_no_checkpoint_is_refused_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file, nor one of Whisper's models"):
        WhisperEngine(Speech(model=str(tmp_path / "absent.pt")))
    (tmp_path / "bad.pt").write_bytes(b"not a checkpoint")
    with pytest.raises(UserError, match=r"bad\.pt: not a checkpoint openai-whisper can load"):
        WhisperEngine(Speech(model=str(tmp_path / "bad.pt")))
