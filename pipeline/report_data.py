"""What a report is made from: plain facts of a run, gathered by whoever ran it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ingest.records import Clip, Reject
from pipeline.scores import Scores


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
class Trial:
    """One trial of the freezing search: text blocks frozen, seed, the deciding metric in percent."""

    depth: int
    seed: int
    value: float


@dataclass(frozen=True)
class Freezing:
    """The search over the number of frozen lower text blocks; `metric` decided, taken on `stream`."""

    metric: str
    stream: str
    num_blocks: int
    trials: tuple[Trial, ...]
    winner: int

    @property
    def seeds(self) -> list[int]:
        """The seeds tried, in order."""
        return sorted({trial.seed for trial in self.trials})

    @property
    def rows(self) -> list[tuple[int, float, list[float | None]]]:
        """Per depth: its mean over the seeds, and every seed's value (None where that trial was not run)."""
        values = {(trial.depth, trial.seed): trial.value for trial in self.trials}
        depths = sorted({depth for depth, _ in values})
        return [
            (depth, self.mean(depth), [values.get((depth, seed)) for seed in self.seeds]) for depth in depths
        ]

    def mean(self, depth: int) -> float:
        """Mean of the metric over the seeds of one depth."""
        found = [trial.value for trial in self.trials if trial.depth == depth]
        return math.fsum(found) / len(found)


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
