"""Where speech is, and windows of it that a speech model can take (webrtcvad)."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import webrtcvad
from numpy.typing import NDArray

SAMPLE_RATE = 16_000
_FRAME_S = 0.03
_FRAME = int(SAMPLE_RATE * _FRAME_S)
_AGGRESSIVENESS = 2
_SHORTEST_SPEECH_S = 0.12
_SHORTEST_SILENCE_S = 0.2
_MARGIN_S = 0.3  # kept around speech: detectors clip soft beginnings
_LONGEST_SILENCE_S = 2.0  # a longer one ends a window


@dataclass(frozen=True)
class Span:
    """A stretch of sound in seconds."""

    start_s: float
    end_s: float


def speech_spans(samples: NDArray[np.int16]) -> list[Span]:
    """Stretches of speech in time order; short gaps are bridged, short bursts dropped."""
    frames = len(samples) // _FRAME
    if not frames:
        return []
    detector = webrtcvad.Vad(_AGGRESSIVENESS)
    data = samples[: frames * _FRAME].tobytes()
    size = _FRAME * 2
    voiced = np.array(
        [detector.is_speech(data[i : i + size], SAMPLE_RATE) for i in range(0, len(data), size)], np.int8
    )
    edges = np.flatnonzero(np.diff(voiced, prepend=0, append=0)).reshape(-1, 2) * _FRAME_S
    spans: list[Span] = []
    for start, end in edges.tolist():
        if spans and start - spans[-1].end_s < _SHORTEST_SILENCE_S:
            spans[-1] = Span(spans[-1].start_s, end)
        else:
            spans.append(Span(start, end))
    return [span for span in spans if span.end_s - span.start_s >= _SHORTEST_SPEECH_S]


def windows(spans: Sequence[Span], duration_s: float, longest_s: float) -> list[Span]:
    """Spans gathered into windows of at most `longest_s`, with a margin; a longer span is cut into equal parts."""
    room = longest_s - 2 * _MARGIN_S
    gathered: list[Span] = []
    for span in (part for whole in spans for part in _parts(whole, room)):
        last = gathered[-1] if gathered else None
        if last and span.end_s - last.start_s <= room and span.start_s - last.end_s <= _LONGEST_SILENCE_S:
            gathered[-1] = Span(last.start_s, span.end_s)
        else:
            gathered.append(span)
    return [_widened(gathered, index, duration_s) for index in range(len(gathered))]


def _parts(span: Span, room: float) -> list[Span]:
    count = int(np.ceil((span.end_s - span.start_s) / room))
    borders = np.linspace(span.start_s, span.end_s, count + 1).tolist()
    return [Span(start, end) for start, end in pairwise(borders)]


def _widened(gathered: Sequence[Span], index: int, duration_s: float) -> Span:
    """A window with its margins, which never reach into the neighbours' speech."""
    span = gathered[index]
    floor = gathered[index - 1].end_s if index else 0.0
    ceiling = gathered[index + 1].start_s if index + 1 < len(gathered) else duration_s
    return Span(max(span.start_s - _MARGIN_S, floor), min(span.end_s + _MARGIN_S, ceiling))
