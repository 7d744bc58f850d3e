"""Windows over a transcript: TVTSv2's own (section 11), and those of one length."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ingest.records import Utterance, Word

K = 4
GAP_S = 1.0


@dataclass(frozen=True)
class WindowDraw:
    """The three random draws of one sample: seconds per window, and the start as integer part and fraction."""

    seconds: int
    start: int
    fraction: float


def draw_windows(duration_s: int, generator: np.random.Generator, count: int = K) -> WindowDraw:
    """Draw for a video of this many whole seconds; one too short for the windows starts at 0."""
    seconds = int(generator.integers(3, 6))
    latest = duration_s - _total_s(seconds, count) - 1
    if latest < 0:
        return WindowDraw(seconds, 0, 0.0)
    return WindowDraw(seconds, int(generator.integers(0, latest + 1)), float(generator.uniform()))


def transcript_windows(duration_s: int, draw: WindowDraw, count: int = K) -> list[tuple[float, float]]:
    """Start and end in seconds of the windows; they shrink where the end of the video cuts them.

    Those of a video of hardly more than the gaps between them have no length left, or less.
    """
    total = _total_s(draw.seconds, count)
    start = draw.start + draw.fraction
    end = min(duration_s - 1, start + total)
    if duration_s - total - 1 < 0:
        start, end = 0.0, duration_s - 1
    length = (end - start - GAP_S * (count - 1)) / count
    starts = [start + number * (length + GAP_S) for number in range(count)]
    return [(begin, begin + length) for begin in starts]


def transcripts(words: Sequence[Word], windows: Sequence[tuple[float, float]]) -> list[str]:
    """The text of each window: aligned words strictly inside, each (an empty one too) followed by a blank."""
    return ["".join(f"{word.text} " for word in words if low < word.start_s < high) for low, high in windows]


def fixed_windows(duration_s: float, window_s: float) -> list[tuple[float, float]]:
    """Windows end to end; the last may be shorter by half, and a medium shorter than one is one."""
    count = max(1, int(duration_s / window_s + 0.5))
    return [(number * window_s, min((number + 1) * window_s, duration_s)) for number in range(count)]


def equal_parts(start_s: float, end_s: float, count: int) -> list[tuple[float, float]]:
    """A window in parts of one length."""
    borders = np.linspace(start_s, end_s, count + 1).tolist()
    return list(itertools.pairwise(borders))


def words_of(utterances: Sequence[Utterance]) -> Iterator[Word]:
    """All words in order; those of an utterance without word times share its time by their letters."""
    for utterance in utterances:
        yield from utterance.words or _shared_out(utterance)


def _shared_out(utterance: Utterance) -> Iterator[Word]:
    texts = utterance.text.split()
    letters = np.cumsum([0, *(len(text) + 1 for text in texts)])
    seconds = (utterance.end_s - utterance.start_s) / max(int(letters[-1]), 1)
    for text, first, last in zip(texts, letters[:-1].tolist(), letters[1:].tolist(), strict=True):
        yield Word(text, utterance.start_s + first * seconds, utterance.start_s + last * seconds)


def _total_s(seconds: int, count: int) -> int:
    return count * seconds + int(GAP_S) * (count - 1)
