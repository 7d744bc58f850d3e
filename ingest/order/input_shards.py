"""The order in which input shards are read where nobody knows beforehand how many clips they give: pure functions.

Each epoch takes every input shard once, shuffled from (seed, epoch); epochs follow one another without a gap. The
n-th shard to be read, from 0, is turn n.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

_SHARDS_TAG, _ROWS_TAG = 3, 4  # streams of random numbers that must not be the same


@dataclass(frozen=True)
class ShardOrder:
    """An endless order over the input shards of a stream."""

    num_shards: int
    seed: int

    def epoch(self, turn: int) -> int:
        """The epoch of a turn."""
        return turn // self.num_shards

    def shard(self, turn: int) -> int:
        """The number of the input shard that a turn reads."""
        epoch, place = divmod(turn, self.num_shards)
        return int(_shuffled(self.num_shards, self.seed, epoch)[place])

    def rows(self, turn: int, num_rows: int) -> NDArray[np.int64]:
        """The order of the clips of a turn."""
        return np.random.default_rng((self.seed, turn, _ROWS_TAG)).permutation(num_rows)

    def start(self, first_row: int, counts: Sequence[int | None]) -> tuple[int, int]:
        """Where to begin for this row of the endless order: a turn, and the row that it begins with.

        `counts`: clips of each input shard, None where nobody has seen them. It is the turn that holds the row, or
        the first unseen one before it.
        """
        known = [count for count in counts if count is not None]
        if not any(known):
            return 0, 0
        turn = row = 0
        if len(known) == len(counts):
            epoch = first_row // sum(known)
            turn, row = epoch * self.num_shards, epoch * sum(known)
        while (count := counts[self.shard(turn)]) is not None and row + count <= first_row:
            turn, row = turn + 1, row + count
        return turn, row


@lru_cache(maxsize=4)
def _shuffled(num_shards: int, seed: int, epoch: int) -> NDArray[np.int64]:
    return np.random.default_rng((seed, epoch, _SHARDS_TAG)).permutation(num_shards)
