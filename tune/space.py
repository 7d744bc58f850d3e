"""What a search may vary and how far it goes, as typed data."""

import math
from dataclasses import dataclass, field
from typing import Annotated, Literal

import tyro

Value = bool | int | float | str | None


@dataclass(frozen=True)
class LogUniform:
    """Between `low` and `high`, every factor as likely as any other: for rates."""

    low: float
    high: float
    distribution: Literal["loguniform"] = "loguniform"

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
    high: float
    distribution: Literal["uniform"] = "uniform"

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
    distribution: Literal["choice"] = "choice"

    def __str__(self) -> str:
        return f"choice:{','.join(map(str, self.values))}"

    def at(self, share: float) -> Value:
        """The value of this share of the list."""
        return self.values[int(share * len(self.values))]


@dataclass(frozen=True)
class Grid:
    """Every one of the values, with every value of the other grids."""

    values: tuple[Value, ...]
    distribution: Literal["grid"] = "grid"

    def __str__(self) -> str:
        return f"grid:{','.join(map(str, self.values))}"


Dimension = LogUniform | Uniform | Choice | Grid


def parse(text: str) -> Dimension:
    """ "loguniform:1e-6,1e-3", "uniform:0,0.5", "choice:cosine,constant", "grid:0.2,0.5". ValueError for others."""
    name, _, listed = text.partition(":")
    values = tuple(map(value_of, listed.split(","))) if listed else ()
    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    match name:
        case "loguniform" | "uniform" if len(numbers) == len(values) == 2:
            low, high = map(float, numbers)
            return LogUniform(low, high) if name == "loguniform" else Uniform(low, high)
        case "choice" | "grid" if values:
            return Choice(values) if name == "choice" else Grid(values)
    raise ValueError(
        f"{text!r} is no distribution: loguniform:LOW,HIGH, uniform:LOW,HIGH, choice:A,B,… or grid:A,B,…"
    )


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


OnCommandLine = tyro.constructors.PrimitiveConstructorSpec(
    nargs=1,
    metavar="loguniform:LOW,HIGH|uniform:LOW,HIGH|choice:A,B|grid:A,B",
    instance_from_str=lambda words: parse(words[0]),
    is_instance=lambda value: isinstance(value, Dimension),
    str_from_instance=lambda dimension: [str(dimension)],
)


@dataclass(frozen=True)
class Search:
    """A search over the recipe: how many lower text blocks stay as they are, and whatever `space` names."""

    depths: tuple[int, ...] | str = ()
    """Numbers of frozen lower text blocks tried: a list, or a range FIRST:LAST or FIRST:LAST:STEP with both ends. None:
    `tune` tries none, a quarter, half, three quarters and all of the blocks, and `run` does not search."""
    space: dict[str, Annotated[Dimension, OnCommandLine]] = field(default_factory=dict)
    """Further fields and what they are drawn from, e.g. `stages.1.optimizer.lr_rest loguniform:1e-6,1e-3`; the names
    are those of the flags."""
    sampler: Literal["random", "optuna"] = "random"
    """Who draws: "random", the same draws at every depth and seed; "optuna" (extra `optuna`) draws by what was found
    before, the depth included; grids are then choices."""
    samples: int = 8
    """Draws from the space: per depth with "random", in all with "optuna"."""
    seeds: tuple[int, ...] = (0,)
    """Seeds per depth and draw; their spread is shown."""
    steps: int = 0
    """Optimiser steps of a trial; 0: as many as the stage has."""
    scheduler: Literal["grid", "asha"] = "grid"
    """"grid": every trial runs to its end; "asha": it is scored after a quarter and half of its steps, and goes on if
    it is then in the better half of those that came so far (arXiv:1810.05934, the stopping form)."""
    stage: int = -1
    """Index of the stage that is searched; earlier stages are trained once and shared."""
    metric: str = "D/t2v_R1"
    """Metric of the evaluation that decides."""
    against: str = ""
    """Metric in the words that were trained on; where it prefers another depth, table, curve and report say so."""
    stream: str = "val"
    """Stream of held-out clips the metric is taken on; never the one that results are reported on."""
    classes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Zero-shot classification: names of class sets, each with its class prompts. A clip belongs to every class whose
    prompt occurs in its held-out text of the register that the set is named after."""
    max_concurrent: int = 1
    """Trials at a time; fewer where the cluster has no room for so many."""
    gpus_per_worker: float = 1.0
    """GPUs of one training worker of a trial; 0.5 lets two trials of one worker share a GPU."""
    retries: int = 1
    """Times a trial that fails goes on from its last checkpoint before it is reported as failed."""

    @property
    def wanted(self) -> bool:
        """Whether `run` searches."""
        return bool(self.depths or self.space)
