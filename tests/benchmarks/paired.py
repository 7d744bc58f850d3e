"""Two ways to do one thing, timed in turns in one run."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Pair:
    """Median seconds of each side, and the median of the ratios of neighbouring runs (other / ours)."""

    ours_s: float
    other_s: float
    ratio: float


def timed_in_turns(
    ours: Callable[[], object],
    other: Callable[[], object],
    repeats: int,
    clock: Callable[[], float] = time.perf_counter,
) -> Pair:
    """Run both once to warm up, then in turns. `clock`: `time.process_time` where one core's work is compared."""
    ours(), other()
    pairs = []
    for number in range(repeats):
        first, second = (ours, other) if number % 2 else (other, ours)
        spent = {}
        for side in (first, second):
            started = clock()
            side()
            spent[side] = clock() - started
        pairs.append((spent[ours], spent[other]))
    ratios = [theirs / mine for mine, theirs in pairs]
    return Pair(median(mine for mine, _ in pairs), median(theirs for _, theirs in pairs), median(ratios))


def result(name: str, ratio: float, target: str) -> None:
    """The last line of a benchmark, for programs."""
    print(f"{name} ratio={ratio:.2f} target={target}")
