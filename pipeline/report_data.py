"""What a report is made from: plain facts of a run, gathered by whoever ran it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from ingest.records import Clip, Reject
from pipeline.scores import Scores
from tune.trials import Failed, Trial, mean


@dataclass(frozen=True)
class Step:
    """One step of the run: its title ("Ingest"), how long it took, a few words on what it did."""

    title: str
    seconds: float
    detail: str
    earlier: bool = False
    """Finished by an earlier call and not repeated."""


@dataclass(frozen=True)
class StreamIn:
    """What came in on one stream. `transcribed` counts media whose words come from the speech model."""

    name: str
    layout: str
    media: int
    clips: int
    rejects: int
    hours: float
    """Of the clips together."""
    size_bytes: int
    transcribed: int = 0


@dataclass(frozen=True)
class Curve:
    """One loss of one stream over a stage's steps; `chance`: its value for a model that knows nothing."""

    stage: str
    loss: str
    stream: str
    points: tuple[tuple[float, float], ...]
    chance: float | None = None


@dataclass(frozen=True)
class Line:
    """One line of a picture beside the losses of a stage, in percent by optimiser step; `chance` as for a `Curve`."""

    stage: str
    picture: str
    label: str
    points: tuple[tuple[float, float], ...]
    chance: float | None = None


@dataclass(frozen=True)
class Freezing:
    """The search over the number of frozen lower text blocks; `metric` decided, taken on `stream`.

    `trials`: at every depth those of its best setting, with all their metrics.
    """

    metric: str
    stream: str
    num_blocks: int
    trials: tuple[Trial, ...]
    winner: int
    names: tuple[str, ...] = ()
    """The metrics shown, the deciding one first; none: that one."""
    start: Mapping[str, float] = field(default_factory=dict)
    """The metrics of the weights that all trials started from."""
    failed: tuple[Failed, ...] = ()
    disagreement: str = ""
    """One sentence where another metric prefers another depth."""

    @property
    def seeds(self) -> list[int]:
        """The seeds tried, in order."""
        return sorted({trial.seed for trial in self.trials})

    @property
    def depths(self) -> list[int]:
        """The depths tried, in order."""
        return sorted({trial.depth for trial in self.trials})

    @property
    def shown(self) -> tuple[str, ...]:
        """The metrics shown."""
        return self.names or (self.metric,)

    def values(self, name: str, depth: int) -> list[float]:
        """A metric of every trial of one depth, by seed."""
        own = sorted((t.seed, t.metrics[name]) for t in self.trials if t.depth == depth)
        return [value for _, value in own]

    def mean(self, name: str, depth: int) -> float:
        """Mean of a metric over the seeds of one depth."""
        return mean([trial for trial in self.trials if trial.depth == depth], name)

    def best(self, name: str) -> int:
        """The depth with the best mean of a metric, of equals the deepest."""
        return max(self.depths, key=lambda depth: (self.mean(name, depth), depth))


@dataclass(frozen=True)
class Weights:
    """The scores of one kind of weights; more than one run means as many seeds."""

    kind: Literal["random", "start", "trained"]
    title: str
    runs: tuple[Scores, ...]

    def mean(self, name: str) -> float:
        """Mean of a metric over the runs."""
        return math.fsum(run.metrics[name] for run in self.runs) / len(self.runs)

    def spread(self, name: str) -> tuple[float, float] | None:
        """Lowest and highest of the runs; None for a single run."""
        values = [run.metrics[name] for run in self.runs]
        return (min(values), max(values)) if len(values) > 1 else None


@dataclass(frozen=True)
class ReportData:
    """Everything the page shows. `gallery` holds the clips that the examples name, by uid."""

    recipe: str
    command: str
    date: str
    commit: str
    machine: str
    seeds: tuple[int, ...]
    steps: tuple[Step, ...]
    streams: tuple[StreamIn, ...]
    rejects: tuple[Reject, ...]
    samples: tuple[Clip, ...]
    curves: tuple[Curve, ...]
    lines: tuple[Line, ...]
    freezing: Freezing | None
    weights: tuple[Weights, ...]
    gallery: Mapping[str, Clip]
    registers: Mapping[str, str]
    """One sentence per register on what its wording is."""
    recipe_json: str

    @property
    def seconds(self) -> float:
        """Time of all steps together."""
        return math.fsum(step.seconds for step in self.steps)

    def of(self, kind: str) -> Weights | None:
        """The scores of one kind of weights, if they were taken."""
        return next((weights for weights in self.weights if weights.kind == kind), None)
