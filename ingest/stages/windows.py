"""TVTSv2's own windows over a transcript (section 11): K equal windows a second apart, words inside each."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ingest.records import Word

K = 4
GAP_S = 1.0


@dataclass(frozen=True)
class WindowDraw:
    """The three random draws of one sample: seconds per window, and the start as integer part and fraction."""

    seconds: int
    start: int
    fraction: float


def draw_windows(duration_s: int, generator: np.random.Generator) -> WindowDraw:
    """Draw for a video of this many whole seconds; one too short for the windows starts at 0."""
    seconds = int(generator.integers(3, 6))
    latest = duration_s - _total_s(seconds) - 1
    if latest < 0:
        return WindowDraw(seconds, 0, 0.0)
    return WindowDraw(seconds, int(generator.integers(0, latest + 1)), float(generator.uniform()))


def transcript_windows(duration_s: int, draw: WindowDraw) -> list[tuple[float, float]]:
    """Start and end in seconds of the K windows; they shrink where the end of the video cuts them."""
    total = _total_s(draw.seconds)
    start = draw.start + draw.fraction
    end = min(duration_s - 1, start + total)
    if duration_s - total - 1 < 0:
        start, end = 0.0, duration_s - 1
    length = (end - start - GAP_S * (K - 1)) / K
    starts = [start + number * (length + GAP_S) for number in range(K)]
    return [(begin, begin + length) for begin in starts]


def transcripts(words: Sequence[Word], windows: Sequence[tuple[float, float]]) -> list[str]:
    """The text of each window: aligned words strictly inside, each (an empty one too) followed by a blank."""
    return ["".join(f"{word.text} " for word in words if low < word.start_s < high) for low, high in windows]


def _total_s(seconds: int) -> int:
    return K * seconds + int(GAP_S) * (K - 1)
