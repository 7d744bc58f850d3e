"""When a trial is stopped early: asynchronous successive halving in its stopping form (ASHA, arXiv:1810.05934)."""

from collections.abc import Callable, Sequence
from typing import Protocol

KEPT = 2
"""One in so many goes on from a rung."""


def rungs(steps: int) -> tuple[int, ...]:
    """After how many steps a trial is compared: a quarter, and half of them."""
    quarter = steps // 4
    return (quarter, 2 * quarter) if quarter else ()


def goes_on(score: float, earlier: Sequence[float], more_is_better: bool) -> bool:
    """Whether a trial is in the better half of those that came to this rung so far, itself included; the first is."""
    better = sum(other > score if more_is_better else other < score for other in earlier)
    return better < max(1, (len(earlier) + 1) // KEPT)


class Reached(Protocol):
    """How far a training came."""

    @property
    def checkpoint(self) -> str: ...

    @property
    def step(self) -> int: ...


def halved(
    steps: int, train: Callable[[int | None], Reached], better: Callable[[int, str], bool]
) -> tuple[str, int, bool]:
    """Train from rung to rung while the trial is better than half: its last checkpoint and step, and whether it was
    stopped before the end.

    `train` goes on from where it was, to so many steps or (None) to the end; `better` is asked with a rung and the
    checkpoint there.
    """
    for rung in rungs(steps):
        reached = train(rung)
        if not better(rung, reached.checkpoint):
            return reached.checkpoint, rung, True
    last = train(None)
    return last.checkpoint, last.step, False
