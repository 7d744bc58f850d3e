"""When a trial is stopped early: asynchronous successive halving in its stopping form (ASHA, arXiv:1810.05934)."""

from collections.abc import Sequence

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
