"""Which checkpoints of a stage are scored, how, and which one is the best by a score."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal

from trainers.checkpoints.run_folder import Committed
from trainers.evaluation.protocol import Declared

PREFIX = "validation/"
"""Before the names of scores, in the tracker and in a checkpoint's metrics."""
CLIPS, CHANCE = "clips", "chance/"
"""Among the scores, how many clips they are of; and, before the name of a number, what guessing gives on them."""
FAILED = "validation_failed"
"""Metric of the tracker, 1 after a try that failed; among a checkpoint's metrics, what went wrong."""

Order = Literal["max", "min"]


@dataclass(frozen=True)
class Best:
    """A score, and whether more or less of it is better."""

    score: str
    order: Order

    @classmethod
    def named(cls, name: str, declared: Mapping[str, Declared]) -> "Best":
        """From the name of a declared number, or max:NAME, or min:NAME.

        ValueError for another form, a number that there is not, and an order that is not the declared one.
        """
        order, score = asked(name)
        if score not in declared:
            near = ", ".join(get_close_matches(score, declared, cutoff=0.0))
            raise ValueError(
                f"validation.best: there is no score {score!r}; the nearest are {near or 'none'}"
            )
        more = declared[score].more_is_better
        right: Order | None = None if more is None else "max" if more else "min"
        if order and right and order != right:
            raise ValueError(f"validation.best: {order}:{score} is the worst; write {right}:{score}")
        if not (order or right):
            raise ValueError(
                f"validation.best: of {score} neither more nor less is better; write max:{score} or min:{score}"
            )
        return cls(score, order or right)  # type: ignore[arg-type]

    def of(self, checkpoints: Iterable[Committed]) -> Committed:
        """The best of those that have the score, of equals the latest. ValueError where none has it."""
        scored = [each for each in checkpoints if PREFIX + self.score in each.metrics]
        return max(scored, key=lambda each: (self.rank(each.metrics), each.step))

    def rank(self, metrics: Mapping[str, float]) -> float:
        """The score of a checkpoint's metrics, negated where less is better."""
        return metrics[PREFIX + self.score] * (1 if self.order == "max" else -1)


def asked(name: str) -> tuple[Order | None, str]:
    """The order, where one is given, and the score of a name such as "max:NAME". ValueError for another form."""
    order, colon, score = name.rpartition(":")
    if not score or (colon and order not in ("max", "min")):
        raise ValueError(f"validation.best: {name!r} is neither SCORE nor max:SCORE nor min:SCORE")
    return order or None, score  # type: ignore[return-value]


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
