"""Protocols in step, with a pass that is made up."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from tests.trainers.tiny import SYSTEM
from trainers.evaluation.protocol import (
    Columns,
    Declared,
    HeldOut,
    Measured,
    Protocol,
    Round,
    Rounds,
)
from trainers.evaluation.rounds import Collected, RoundsByModel, in_rounds

HELD_OUT = HeldOut("test", SYSTEM, {}, {})


@dataclass(frozen=True)
class Collecting:
    """Stands for something to collect."""

    what: str

    def __call__(self, loaded: Any) -> Any:
        raise NotImplementedError


@dataclass(frozen=True)
class Passes(Protocol):
    """Collects so many times."""

    count: int = 1
    streams_of: tuple[str, ...] = ("test",)
    kind: Literal["passes"] = "passes"

    def declares(self, held_out: HeldOut) -> tuple[Declared, ...]:
        return (Declared(f"passes/{self.count}", "", ""),)

    def rounds(self, held_out: HeldOut) -> Rounds:
        found: list[Mapping[str, Columns]] = []
        for number in range(self.count):
            found.append((yield Round(self.streams_of, Collecting(f"pass {number} after {len(found)}"))))
        return found

    def score(self, held_out: HeldOut, found: Any, before: Any) -> tuple[Measured, ...]:
        return ()


class Passer:
    """Writes down what it is asked."""

    def __init__(self) -> None:
        self.jobs: list[RoundsByModel] = []

    def __call__(self, job: RoundsByModel) -> Collected:
        self.jobs.append(job)
        return {
            model: [{name: {"uid": np.array([model, name])} for name in each.streams} for each in rounds]
            for model, rounds in job.items()
        }


def test_as_few_passes_are_made_as_the_longest_protocol_has_rounds_and_alike_ones_are_one() -> None:
    passer = Passer()
    protocols = (Passes(), Passes(2, ("test", "twins")), Passes(0))
    found = in_rounds(protocols, ["start", "trained"], HELD_OUT, passer)
    assert [job.keys() for job in passer.jobs] == [{"start", "trained"}] * 2
    first, second = (job["trained"] for job in passer.jobs)
    assert first == [Round(("test", "twins"), Collecting("pass 0 after 0"))]
    assert second == [Round(("test", "twins"), Collecting("pass 1 after 1"))]
    one, two, none = found["trained"].by_protocol
    assert [list(each) for each in one] == [["test"]]  # its own streams alone
    assert [each["twins"]["uid"].tolist() for each in two] == [["trained", "twins"]] * 2
    assert none == []
    assert found["trained"].num_clips == 2
