"""What a search may vary and how far it goes, as typed data."""

import math
import re
from dataclasses import dataclass, field
from typing import Annotated, Literal

import tyro

from infra.fields import is_number
from trainers.evaluation.protocol import Protocol

Value = bool | int | float | str | None


@dataclass(frozen=True)
class LogUniform:
    """Between `low` and `high`, every factor as likely as any other: for rates."""

    low: float
    """Lower end, above 0."""
    high: float
    """Upper end."""
    distribution: Literal["loguniform"] = "loguniform"
    """Which distribution this is."""

    def __post_init__(self) -> None:
        """ValueError for ends that are no positive range."""
        if not 0 < self.low < self.high:
            raise ValueError(f"{self} needs two ends above 0, the lower one first")

    def __str__(self) -> str:
        return f"loguniform:{self.low:g},{self.high:g}"

    def at(self, share: float) -> float:
        """The value below which this share of the draws lies."""
        return float(self.low * (self.high / self.low) ** share)


@dataclass(frozen=True)
class Uniform:
    """Between `low` and `high`, every difference as likely as any other."""

    low: float
    """Lower end."""
    high: float
    """Upper end."""
    distribution: Literal["uniform"] = "uniform"
    """Which distribution this is."""

    def __post_init__(self) -> None:
        """ValueError for ends that are no range."""
        if not -math.inf < self.low < self.high < math.inf:
            raise ValueError(f"{self} needs two ends, the lower one first")

    def __str__(self) -> str:
        return f"uniform:{self.low:g},{self.high:g}"

    def at(self, share: float) -> float:
        """The value below which this share of the draws lies."""
        return self.low + (self.high - self.low) * share


@dataclass(frozen=True)
class Choice:
    """One of the values, each as likely as any other."""

    values: tuple[Value, ...]
    """What is drawn from."""
    distribution: Literal["choice"] = "choice"
    """Which distribution this is."""

    def __str__(self) -> str:
        return f"choice:{','.join(map(str, self.values))}"

    def at(self, share: float) -> Value:
        """The value of this share of the list."""
        return self.values[int(share * len(self.values))]


@dataclass(frozen=True)
class Grid:
    """Every one of the values, with every value of the other grids."""

    values: tuple[Value, ...]
    """All of them are tried, in this order."""
    distribution: Literal["grid"] = "grid"
    """Which distribution this is."""

    def __str__(self) -> str:
        return f"grid:{','.join(map(str, self.values))}"


Dimension = LogUniform | Uniform | Choice | Grid


def parse(text: str) -> Dimension:
    """ "loguniform:1e-6,1e-3", "uniform:0,0.5", "choice:cosine,constant", "grid:0.2,0.5", and "grid:0:12:3" for the
    whole numbers from 0 to 12 in steps of 3, both ends included. ValueError for others."""
    name, _, listed = text.partition(":")
    if name == "grid" and re.fullmatch(r"[-.\d]*(:[-.\d]*)+", listed):
        values = _range(listed)
    else:
        values = tuple(map(value_of, listed.split(","))) if listed else ()
    numbers = [value for value in values if is_number(value)]
    match name:
        case "loguniform" | "uniform" if len(numbers) == len(values) == 2:
            low, high = map(float, numbers)
            return LogUniform(low, high) if name == "loguniform" else Uniform(low, high)
        case "choice" | "grid" if values:
            return Choice(values) if name == "choice" else Grid(values)
    raise ValueError(
        f"{text!r} is no distribution: loguniform:LOW,HIGH, uniform:LOW,HIGH, choice:A,B,…, grid:A,B,… or "
        "grid:FIRST:LAST[:STEP]"
    )


def _range(text: str) -> tuple[Value, ...]:
    """Nothing for what is no range."""
    parts = re.fullmatch(r"(-?\d+):(-?\d+)(?::([1-9]\d*))?", text)
    return tuple(range(int(parts[1]), int(parts[2]) + 1, int(parts[3] or 1))) if parts else ()


def value_of(text: str) -> Value:
    """A number, true, false or none where the text is one, else the text."""
    known: dict[str, Value] = {"true": True, "false": False, "none": None}
    if text.lower() in known:
        return known[text.lower()]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _space_of(words: list[str]) -> dict[str, Dimension]:
    if len(words) % 2:
        raise ValueError(f"{words[-1]} has no distribution; each field is followed by one")
    return {name: parse(text) for name, text in zip(words[::2], words[1::2], strict=True)}


OnCommandLine = tyro.constructors.PrimitiveConstructorSpec(
    nargs="*",
    metavar="FIELD loguniform:LOW,HIGH|uniform:LOW,HIGH|choice:A,B|grid:A,B|grid:FIRST:LAST:STEP …",
    instance_from_str=_space_of,
    is_instance=lambda value: isinstance(value, dict),
    str_from_instance=lambda space: [word for name, each in space.items() for word in (name, str(each))],
)


@dataclass(frozen=True)
class Search:
    """A search over the recipe: fields by name, what they are drawn from, and the number that decides."""

    space: Annotated[dict[str, Dimension], OnCommandLine] = field(default_factory=dict)
    """Fields and what they are drawn from, e.g. `stages.1.frozen_below.text grid:0:12:3` or
    `stages.1.optimizer.rates.rest.lr loguniform:1e-6,1e-3`; the names are those of the flags. None: no search."""
    variants: tyro.conf.Suppress[dict[str, dict[str, Value]]] = field(default_factory=dict)
    """Named sets of fields, each tried with all that the space gives: {name: {field: value}}."""
    sampler: Literal["random", "optuna"] = "random"
    """Who draws: "random", the same draws with every value of the grids and every seed; "optuna" (extra `optuna`) draws
    by what was found before; grids and variants are then choices."""
    samples: int = 8
    """Draws from the space: with every value of the grids with "random", in all with "optuna"."""
    seeds: tuple[int, ...] = (0,)
    """Seeds per setting; their spread is shown."""
    steps: int = 0
    """Optimiser steps of each stage of a trial; 0: as many as the stage has."""
    scheduler: Literal["grid", "asha"] = "grid"
    """"grid": every trial runs to its end; "asha": it is scored after a quarter and half of its steps, and goes on if
    it is then in the better half of those that came so far (arXiv:1810.05934, the stopping form)."""
    stage: int = -1
    """Index of the stage that is searched; earlier stages are trained once and shared."""
    stages: int = 1
    """Stages that a trial trains, from the searched one on, each from the one before; it is scored after the last."""
    metric: str = ""
    """Declared number that decides, by its name."""
    against: str = ""
    """Another one, e.g. in the words that were trained on; where it prefers another setting, table, curve and report
    say so."""
    stream: str = "val"
    """Stream of held-out clips that trials are scored on; never the one that results are reported on."""
    protocols: tuple[Protocol, ...] = ()
    """What trials are scored by beside the protocols of the evaluation."""
    words: tyro.conf.Suppress[dict[str, str]] = field(default_factory=dict)
    """What people call a field of the space: {field: words}."""
    max_concurrent: int = 1
    """Trials at a time; fewer where the cluster has no room for so many."""
    gpus_per_worker: float = 1.0
    """GPUs of one training worker of a trial; 0.5 lets two trials of one worker share a GPU."""
    retries: int = 1
    """Times a trial that fails goes on from its last checkpoint before it is reported as failed."""

    @property
    def wanted(self) -> bool:
        """Whether `run` searches."""
        return bool(self.space or self.variants)

    @property
    def axis(self) -> str | None:
        """The field along which a curve is drawn: that of the first grid of numbers. None: there is no such grid."""
        grids = ((name, each.values) for name, each in self.space.items() if isinstance(each, Grid))
        return next((name for name, values in grids if all(map(is_number, values))), None)

    def called(self, name: str) -> str:
        """What people call a field."""
        return self.words.get(name, name)
