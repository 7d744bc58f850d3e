"""What a report is made from: plain facts of a run, gathered by whoever ran it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

from ingest.records import Clip, Reject
from pipeline.evaluation.scores import Scores
from trainers.evaluation.protocol import Declared, Measured
from tune.curve import Point
from tune.results import Failed, Trial


@dataclass(frozen=True)
class StepTime:
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
    """One line of a picture beside the losses of a stage, by optimiser step; `chance` as for a `Curve`."""

    stage: str
    picture: str
    label: str
    points: tuple[tuple[float, float], ...]
    chance: float | None = None
    unit: str = "%"
    """"%", or "" for a number of its own."""
    note: str = ""
    """A few words on what the picture shows."""


@dataclass(frozen=True)
class SearchCurve:
    """What a search found, over all seeds: at every place of its curve the trials that are seen there."""

    title: str
    """What the places are: words for the field along the axis, or "setting"."""
    stream: str
    points: tuple[Point, ...]
    winner: Point
    has_axis: bool
    """Whether the places lie along an axis."""
    shown: tuple[Declared, ...]
    """The numbers shown, the deciding one first."""
    start: Mapping[str, float] = field(default_factory=dict)
    """The metrics of the weights that all trials started from."""
    failed: tuple[Failed, ...] = ()
    disagreement: str = ""
    """One sentence where another metric prefers another place."""

    @property
    def trials(self) -> list[Trial]:
        """Those of all points."""
        return [trial for point in self.points for trial in point.trials]

    @property
    def seeds(self) -> list[int]:
        """The seeds tried, in order."""
        return sorted({trial.seed for trial in self.trials})


@dataclass(frozen=True)
class Weights:
    """The scores of one kind of weights; more than one run means as many seeds."""

    kind: Literal["random", "start", "trained"]
    title: str
    runs: tuple[Scores, ...]

    @cached_property
    def means(self) -> dict[str, Measured]:
        """The numbers that all runs have, as means over the runs."""
        every = [run.by_name for run in self.runs]
        return {
            name: replace(one, value=math.fsum(run[name].value for run in every) / len(every))
            for name, one in every[0].items()
            if all(name in run for run in every)
        }

    def around(self, name: str) -> tuple[float, float] | None:
        """Lowest and highest of the runs; of a single run the 95 % interval, where there is one."""
        values = [run.by_name[name].value for run in self.runs]
        return (min(values), max(values)) if len(values) > 1 else self.means[name].interval


def declared_in(weights: Sequence[Weights]) -> list[Declared]:
    """Every number that some of the weights have, in their order."""
    return list({name: each.declared for item in weights for name, each in item.means.items()}.values())


def chance_in(weights: Sequence[Weights], name: str) -> float | None:
    """What guessing gives, by the first weights that know."""
    levels = (item.means[name].chance for item in weights if name in item.means)
    return next((level for level in levels if level is not None), None)


@dataclass(frozen=True)
class ReportData:
    """Everything the page shows. `gallery` holds the clips that the examples name, by uid."""

    recipe: str
    command: str
    date: str
    commit: str
    machine: str
    seeds: tuple[int, ...]
    steps: tuple[StepTime, ...]
    streams: tuple[StreamIn, ...]
    rejects: tuple[Reject, ...]
    samples: tuple[Clip, ...]
    curves: tuple[Curve, ...]
    lines: tuple[Line, ...]
    search: SearchCurve | None
    weights: tuple[Weights, ...]
    gallery: Mapping[str, Clip]
    recipe_json: str

    @property
    def seconds(self) -> float:
        """Time of all steps together."""
        return math.fsum(step.seconds for step in self.steps)

    def of(self, kind: str) -> Weights | None:
        """The scores of one kind of weights, if they were taken."""
        return next((weights for weights in self.weights if weights.kind == kind), None)
