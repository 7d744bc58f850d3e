"""The order in which a stream is read: pure functions of the ledger and a seed.

Each epoch shuffles the row groups from (seed, epoch), takes them in windows of a few, and shuffles the rows
inside a window from (seed, epoch, window). Epochs follow one another without a gap, so the remainder of one opens
the next and every row has one global position, however many readers there are.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ingest.stores.ledger import Part

_ROWS_TAG, _GROUPS_TAG = 1, 2  # two streams of random numbers that must not be the same


@dataclass(frozen=True)
class RowGroup:
    """One row group of a part."""

    part: str
    index: int
    num_rows: int


@dataclass(frozen=True)
class ShuffleWindow:
    """Some row groups read together. The rows wanted are `order` of their rows laid end to end.

    `position` is the global position of the first wanted row.
    """

    epoch: int
    groups: tuple[RowGroup, ...]
    order: tuple[int, ...]
    position: int


@dataclass(frozen=True)
class Order:
    """An endless order over the row groups of a stream."""

    groups: tuple[RowGroup, ...]
    seed: int
    window_groups: int = 8

    @property
    def rows_per_epoch(self) -> int:
        """Rows of the stream."""
        return sum(group.num_rows for group in self.groups)

    def windows(self, first_row: int, num_rows: int) -> Iterator[ShuffleWindow]:
        """The windows that hold the rows of these global positions, cut to exactly those."""
        stop = first_row + num_rows
        for epoch in range(first_row // self.rows_per_epoch, -(-stop // self.rows_per_epoch)):
            yield from self._windows_of_epoch(epoch, first_row, stop)

    def cuts(self, first_row: int, num_rows: int, max_cuts: int) -> list[tuple[int, int]]:
        """The positions as at most `max_cuts` consecutive (first row, number of rows)."""
        size = max(self._typical_window_rows, -(-num_rows // max_cuts))
        stop = first_row + num_rows
        return [(start, min(size, stop - start)) for start in range(first_row, stop, size)]

    @cached_property
    def _typical_window_rows(self) -> int:
        return max(1, max(group.num_rows for group in self.groups) * self.window_groups)

    def _windows_of_epoch(self, epoch: int, first_row: int, stop: int) -> Iterator[ShuffleWindow]:
        shuffled, starts = self._layout(epoch)
        begin = int(np.searchsorted(starts, first_row, side="right")) - 1
        for number in range(max(begin, 0), len(starts)):
            start = int(starts[number])
            if start >= stop:
                return
            groups = self._groups_of(shuffled, number)
            order = self._rows(epoch, number, sum(group.num_rows for group in groups))
            low, high = max(first_row - start, 0), min(stop - start, len(order))
            if low < high:
                yield ShuffleWindow(epoch, groups, tuple(order[low:high].tolist()), start + low)

    def _layout(self, epoch: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The row groups in this epoch's order, and the global position at which each window begins."""
        generator = np.random.default_rng((self.seed, epoch, _GROUPS_TAG))
        shuffled = generator.permutation(len(self.groups))
        ends = np.cumsum(self._sizes[shuffled])
        starts = np.concatenate([np.zeros(1, np.int64), ends[:-1]])[:: self.window_groups]
        return shuffled, starts + epoch * self.rows_per_epoch

    @cached_property
    def _sizes(self) -> NDArray[np.int64]:
        return np.array([group.num_rows for group in self.groups], np.int64)

    def _groups_of(self, shuffled: NDArray[np.int64], number: int) -> tuple[RowGroup, ...]:
        begin = number * self.window_groups
        return tuple(self.groups[index] for index in shuffled[begin : begin + self.window_groups])

    def _rows(self, epoch: int, number: int, num_rows: int) -> NDArray[np.int64]:
        return np.random.default_rng((self.seed, epoch, _ROWS_TAG, number)).permutation(num_rows)


def row_groups(parts: Sequence[Part]) -> tuple[RowGroup, ...]:
    """The row groups of some parts, in their order."""
    return tuple(
        RowGroup(part.name, index, rows) for part in parts for index, rows in enumerate(part.row_groups)
    )
