"""Speech recognition words and their denoised text, joined (TVTSv2, section 11; the method is MERLOT's)."""

import string
from collections.abc import Sequence
from dataclasses import replace

import ftfy
import numpy as np
from numpy.typing import NDArray
from rapidfuzz.distance import Levenshtein
from rapidfuzz.process import cdist

from ingest.records import Word

_FAR = 9999  # the cost of matching words that lie too far apart
_NO_PATH = 1 << 40
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def clean_words(words: Sequence[Word]) -> list[Word]:
    """Without entities ("&gt;", "...;") and empty words, mojibake repaired."""
    kept = (word for word in words if not word.text.startswith("&") and not word.text.endswith(";"))
    repaired = (replace(word, text=ftfy.fix_text(word.text)) for word in kept)
    return [word for word in repaired if word.text]


def align_denoised(words: Sequence[Word], denoised: Sequence[str]) -> list[Word]:
    """Each cleaned word with its denoised text: '' where none belongs to it, several joined by blanks.

    `denoised`: the `cleanasr` strings in order. Time grows with the product of the two lengths.
    """
    raw = [word.text for word in words]
    better = " ".join(ftfy.fix_text(text) for text in denoised).split(" ")
    radius = int(max(0.1 * len(raw), 32))
    if len(better) > len(raw):
        better = better[: len(raw) + radius]
    if not raw:
        return []
    attached: list[list[str]] = [[] for _ in raw]
    seen = -1
    for row, column in _path(_costs(raw, better, radius)):
        if column > seen:  # later matches of the same denoised word do not count
            attached[row].append(better[column])
            seen = column
    return [replace(word, text=" ".join(texts)) for word, texts in zip(words, attached, strict=True)]


def _costs(raw: Sequence[str], better: Sequence[str], radius: int) -> NDArray[np.int32]:
    """Edit distances near the diagonal, `_FAR` elsewhere: [raw words, denoised words]."""
    left, right = [_bare(text) for text in raw], [_bare(text) for text in better]
    costs = np.full((len(left), len(right)), _FAR, np.int32)
    for row, word in enumerate(left):
        low, high = max(row - radius, 0), min(row + radius, len(right))
        if low < high:
            costs[row, low:high] = cdist([word], right[low:high], scorer=Levenshtein.distance, dtype=np.int32)
    return costs


def _bare(text: str) -> str:
    return text.translate(_PUNCTUATION).strip().lower()


def _path(costs: NDArray[np.int32]) -> list[tuple[int, int]]:
    """Dynamic time warping: the cheapest way from the first cell to the last by steps down, right, diagonal."""
    row, column = costs.shape[0] - 1, costs.shape[1] - 1
    steps = _steps(costs)
    path = [(row, column)]
    while row or column:
        step = steps[row + column][row - max(0, row + column - costs.shape[1] + 1)]
        row, column = row - (step != 2), column - (step != 1)
        path.append((row, column))
    return path[::-1]


def _steps(costs: NDArray[np.int32]) -> list[NDArray[np.int8]]:
    """The step into each cell by anti-diagonal (row + column), rows rising: 0 diagonal, 1 down, 2 right.

    Ties prefer the diagonal, then the previous raw word, then the previous denoised word.
    """
    rows, columns = costs.shape
    flipped = costs[:, ::-1]
    before, last = np.full(
        (2, rows + 1), _NO_PATH, np.int64
    )  # totals of two diagonals; [row + 1], [0] a border
    steps: list[NDArray[np.int8]] = []
    for number in range(rows + columns - 1):
        low, high = max(0, number - columns + 1), min(number, rows - 1) + 1
        came = np.stack([before[low:high], last[low:high], last[low + 1 : high + 1]])
        choice = came.argmin(0)
        best = came.min(0) if number else np.zeros(1, np.int64)
        total = np.full(rows + 1, _NO_PATH, np.int64)
        total[low + 1 : high + 1] = best + flipped.diagonal(columns - 1 - number)
        steps.append(choice.astype(np.int8))
        before, last = last, total
    return steps
