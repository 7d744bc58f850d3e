"""Speech recognition words and their denoised text, joined (TVTSv2, section 11; the method is MERLOT's)."""

import string
from collections.abc import Sequence
from dataclasses import dataclass, replace

import ftfy
import numpy as np
from numpy.typing import NDArray
from rapidfuzz.distance import Levenshtein
from rapidfuzz.process import cdist

from ingest.records import Word

_FAR = 9999  # the cost of matching words that lie too far apart
_NO_PATH = 1 << 40
_MAX_CELLS = 400_000_000  # of a transcript whose two texts drift apart: a byte and 50 ns each
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def clean_words(words: Sequence[Word]) -> list[Word]:
    """Without entities ("&gt;", "...;") and empty words, mojibake repaired."""
    kept = (word for word in words if not word.text.startswith("&") and not word.text.endswith(";"))
    repaired = (replace(word, text=ftfy.fix_text(word.text)) for word in kept)
    return [word for word in repaired if word.text]


def align_denoised(words: Sequence[Word], denoised: Sequence[str]) -> list[Word]:
    """Each cleaned word with its denoised text: '' where none belongs to it, several joined by blanks.

    `denoised`: the `cleanasr` strings in order. Time and memory grow with a fifth of the square of the length, and
    with the product of the two lengths where the texts drift apart; ValueError where that is beyond all measure.
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


@dataclass(frozen=True)
class _Costs:
    """Costs of matching raw word i with denoised word j: `near[i, j - i + radius]` near the diagonal, else `_FAR`."""

    near: NDArray[np.uint16]
    columns: int
    radius: int

    def diagonal(self, number: int, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Costs of the cells (i, number - i)."""
        found = np.full(len(rows), _FAR, np.int64)
        offsets = number - 2 * rows + self.radius
        low = int(np.searchsorted(-offsets, 1 - 2 * self.radius))  # offsets fall
        high = int(np.searchsorted(-offsets, 1))
        found[low:high] = self.near[rows[low:high], offsets[low:high]]
        return found

    def holds(self, row: int, column: int) -> bool:
        """Whether a cell lies near the diagonal."""
        return 0 <= column - row + self.radius < 2 * self.radius


def _costs(raw: Sequence[str], better: Sequence[str], radius: int) -> _Costs:
    """Edit distances, near the diagonal only."""
    left, right = [_bare(text) for text in raw], [_bare(text) for text in better]
    near = np.full((len(left), 2 * radius), _FAR, np.uint16)
    for row, word in enumerate(left):
        low, high = max(row - radius, 0), min(row + radius, len(right))
        if low < high:
            found = cdist([word], right[low:high], scorer=Levenshtein.distance, dtype=np.uint16)
            near[row, low - row + radius : high - row + radius] = found
    return _Costs(near, len(right), radius)


def _bare(text: str) -> str:
    return text.translate(_PUNCTUATION).strip().lower()


def _path(costs: _Costs) -> list[tuple[int, int]]:
    """Dynamic time warping: the cheapest way from the first cell to the last by steps down, right, diagonal.

    Beyond the diagonal's neighbourhood every cell costs the same, so a way that leaves it does best along its border.
    If the best way within neighbourhood and border avoids the border, it is the best of all.
    """
    rows, columns = len(costs.near), costs.columns
    if costs.holds(rows - 1, columns - 1):
        path = _way_back(_steps(costs, costs.radius), rows, columns)
        if all(costs.holds(*cell) for cell in path):
            return path
    if rows * columns > _MAX_CELLS:
        raise ValueError(f"{rows} words and {columns} denoised words lie too far apart to be aligned")
    return _way_back(_steps(costs, rows + columns), rows, columns)


@dataclass(frozen=True)
class _Steps:
    """The step into each cell of one anti-diagonal, from row `low`: 0 diagonal, 1 down, 2 right."""

    low: int
    kinds: NDArray[np.int8]


def _way_back(steps: Sequence[_Steps], rows: int, columns: int) -> list[tuple[int, int]]:
    row, column = rows - 1, columns - 1
    path = [(row, column)]
    while row or column:
        diagonal = steps[row + column]
        step = diagonal.kinds[row - diagonal.low]
        row, column = row - (step != 2), column - (step != 1)
        path.append((row, column))
    return path[::-1]


def _steps(costs: _Costs, reach: int) -> list[_Steps]:
    """The steps by anti-diagonal (row + column), over cells at most `reach` right of the diagonal or `reach` + 1 below.

    Ties prefer the diagonal, then the previous raw word, then the previous denoised word.
    """
    rows, columns = len(costs.near), costs.columns
    # Totals of three diagonals, by row + 1; beyond both ends of what was written stands _NO_PATH.
    before, last, total = np.full((3, rows + 2), _NO_PATH, np.int64)
    steps: list[_Steps] = []
    for number in range(rows + columns - 1):
        low = max(0, number - columns + 1, -((reach - number) // 2))
        high = min(number, rows - 1, (number + reach + 1) // 2) + 1
        came = np.stack([before[low:high], last[low:high], last[low + 1 : high + 1]])
        choice = came.argmin(0)
        best = came.min(0) if number else np.zeros(1, np.int64)
        total[low], total[high + 1] = _NO_PATH, _NO_PATH
        total[low + 1 : high + 1] = best + costs.diagonal(number, np.arange(low, high))
        steps.append(_Steps(low, choice.astype(np.int8)))
        before, last, total = last, total, before
    return steps
