"""What an evaluation found, as it is written down, read again and shown."""

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from trainers.evaluation.protocol import Declared, Example, Hit, Measured


@dataclass(frozen=True)
class Scores:
    """The result of one evaluation, with the words of every number, so that it can be shown whatever becomes of the
    protocols."""

    measured: tuple[Measured, ...]
    num_clips: int
    """Of the held-out stream."""
    examples: tuple[Example, ...] = ()

    @property
    def by_name(self) -> dict[str, Measured]:
        """The numbers, in their order."""
        return {each.name: each for each in self.measured}

    @property
    def values(self) -> dict[str, float]:
        """Their values alone."""
        return {each.name: each.value for each in self.measured}

    def to_json(self) -> dict[str, Any]:
        """Plain values, for a step's record or an artifact."""
        return dataclasses.asdict(self)

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> "Scores":
        """What `to_json` gave, also after a round trip through a file."""
        return Scores(
            tuple(
                Measured(**{**each, "declared": Declared(**each["declared"])}) for each in value["measured"]
            ),
            value["num_clips"],
            tuple(
                Example(**{**each, "hits": tuple(Hit(**hit) for hit in each["hits"])})
                for each in value["examples"]
            ),
        )


@dataclass(frozen=True)
class Group:
    """Rows of a table that belong together, with one sentence that says what they measure."""

    title: str
    note: str
    rows: tuple[Declared, ...]


def groups(declared: Iterable[Declared]) -> list[Group]:
    """Numbers by their titles, in the order in which these first come."""
    found: dict[str, list[Declared]] = {}
    for each in declared:
        found.setdefault(each.title, []).append(each)
    return [Group(title, rows[0].note, tuple(rows)) for title, rows in found.items()]


def show(value: float, declared: Declared) -> str:
    """A share in percent with one decimal, another number as it is."""
    return f"{value:.1f} %" if declared.unit == "%" else f"{value:.3g}"
