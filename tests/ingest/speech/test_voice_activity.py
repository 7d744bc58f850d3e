"""Where speech is, and the windows cut around it."""

import numpy as np
import pytest

from ingest.speech.voice_activity import Span, speech_spans, windows
from tests.ingest.media_files import RATE, spoken


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
