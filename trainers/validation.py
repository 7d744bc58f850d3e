"""Which checkpoints of a stage are scored, how, and which one is the best by a score."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from trainers.runs import Committed

PREFIX = "validation/"
"""Before the names of scores, in the tracker and in a checkpoint's metrics."""
FAILED = "validation_failed"
"""Metric of the tracker, 1 after a try that failed; among a checkpoint's metrics, what went wrong."""


@dataclass(frozen=True)
class Best:
    """A score, and whether more or less of it is better."""

    score: str
    order: Literal["max", "min"]

    @classmethod
    def named(cls, name: str) -> "Best":
        """From "max:B/t2v_R1" or "min:B/t2v_MedR". ValueError for another form."""
        order, _, score = name.partition(":")
        if order not in ("max", "min") or not score:
            raise ValueError(
                f"validation.best: {name!r} does not say which end is best: max:SCORE or min:SCORE, e.g. max:B/t2v_R1"
            )
        return cls(score, order)  # type: ignore[arg-type]

    def of(self, checkpoints: Iterable[Committed]) -> Committed:
        """The best of those that have the score, of equals the latest. ValueError where none has it."""
        scored = [each for each in checkpoints if PREFIX + self.score in each.metrics]
        return max(scored, key=lambda each: (self.rank(each.metrics), each.step))

    def rank(self, metrics: Mapping[str, float]) -> float:
        """The score of a checkpoint's metrics, negated where less is better."""
        return metrics[PREFIX + self.score] * (1 if self.order == "max" else -1)


@dataclass(frozen=True)
class Validation:
    """How the checkpoints of a stage are scored."""

    score: Callable[[str], Mapping[str, float]]
    """From a checkpoint's URI to its scores; runs in a process of its own."""
    best: Best | None = None
    """Decides which checkpoints are kept and which one the stage hands on; None: the last."""
    every: int = 1
    """Checkpoints from one that is scored to the next; the last of the stage always is."""
    num_cpus: float = 1.0
    num_gpus: float = 0.0
    """What that process declares to Ray."""

    def wants(self, step: int, last: int, checkpoint_every: int) -> bool:
        """Whether the checkpoint after `step` of `last` steps is scored."""
        return step == last or step // checkpoint_every % self.every == 0

    def has_scored(self, kept: Committed) -> bool:
        """Whether a checkpoint has its scores, the deciding one among them."""
        wanted = PREFIX + (self.best.score if self.best else "")
        return any(name.startswith(wanted) for name in kept.metrics)
