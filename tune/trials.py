"""The trials of a search: which there are, what each trains, what they found together."""

import itertools
import random
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Any

from trainers.recipe import Training
from tune.fields import with_fields
from tune.freezing_depth import depths_of, with_depth
from tune.space import Grid, Search, Value


@dataclass(frozen=True)
class Setting:
    """What is varied, without the seed."""

    depth: int
    """Lower text blocks kept as they are."""
    values: Mapping[str, Value] = field(default_factory=dict)
    """Further fields of the recipe by name."""

    @property
    def key(self) -> tuple[object, ...]:
        """The same for equal settings."""
        return (self.depth, *sorted(self.values.items()))

    @property
    def fields(self) -> dict[str, Value]:
        """The values, and the depth under a name of its own."""
        return {"frozen_text_blocks": self.depth, **self.values}

    def name(self, seed: int) -> str:
        """A folder's name: "depth-3-seed-1", "depth-3-lr_rest-0.00025-seed-1"."""
        words = [f"{name.rpartition('.')[2]}-{_short(value)}" for name, value in sorted(self.values.items())]
        return "-".join([f"depth-{self.depth}", *words, f"seed-{seed}"])


def _short(value: Value) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return re.sub(r"[^\w.+-]", "_", text)


@dataclass(frozen=True)
class Trial:
    """One trained setting and seed, and its scores."""

    depth: int
    seed: int
    metrics: Mapping[str, float]
    """The evaluation's, after the last step or where it was stopped."""
    checkpoint: str
    run_id: str
    """Its tracked run, nested under the search's."""
    values: Mapping[str, Value] = field(default_factory=dict)
    step: int = 0
    """Steps trained."""
    stopped: bool = False
    """Stopped early, as too weak."""
    wall_s: float = 0.0
    """From its start to its scores, in the call that ended it."""
    device_s: float = 0.0
    """Of training, times the workers."""

    @property
    def setting(self) -> Setting:
        """What it varied."""
        return Setting(self.depth, self.values)


@dataclass(frozen=True)
class Failed:
    """A trial that came to no end, and why."""

    depth: int
    seed: int
    reason: str
    values: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True)
class SearchResult:
    """All trials, the best setting, and the scores of the weights that all of them started from."""

    trials: tuple[Trial, ...]
    winner: Setting
    start: Mapping[str, float] = field(default_factory=dict)
    failed: tuple[Failed, ...] = ()

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> "SearchResult":
        """What `dataclasses.asdict` gave, also after a round trip through a file."""
        return SearchResult(
            tuple(Trial(**trial) for trial in value["trials"]),
            Setting(**value["winner"]),
            value["start"],
            tuple(Failed(**failed) for failed in value["failed"]),
        )


def planned(search: Search, training: Training) -> list[tuple[Setting, int]]:
    """(setting, seed) of every trial of a search that does not depend on what it finds.

    Depths and grids with each other; of the other dimensions the same draws everywhere, whoever asks and when.
    ValueError for what the recipe does not have.
    """
    check_search(search, training)
    grids = {name: dimension for name, dimension in search.space.items() if isinstance(dimension, Grid)}
    draws = _draws(search)
    combined = list(itertools.product(*(grid.values for grid in grids.values())))
    settings = [
        Setting(depth, {**dict(zip(grids, values, strict=True)), **drawn})
        for depth in search_depths(search, training)
        for values in combined
        for drawn in draws
    ]
    return [(setting, seed) for setting in settings for seed in search.seeds]


def num_trials(search: Search, training: Training) -> int:
    """How many trainings the search is."""
    if search.sampler == "optuna":
        return search.samples * len(search.seeds)
    return len(planned(search, training))


def search_depths(search: Search, training: Training) -> tuple[int, ...]:
    """The depths tried: those asked for, else the quarters, or with a space alone the stage's own."""
    if search.space and not search.depths:
        return (training.stages[search.stage].frozen_text_blocks,)
    return depths_of(search.depths, training.model.text.layers)


def _draws(search: Search) -> list[dict[str, Value]]:
    drawn = {name: each for name, each in search.space.items() if not isinstance(each, Grid)}
    if not drawn:
        return [{}]
    sources = {name: random.Random(name) for name in drawn}
    return [{name: drawn[name].at(sources[name].random()) for name in drawn} for _ in range(search.samples)]


def check_search(search: Search, training: Training) -> None:
    """ValueError for a depth or field that there is not, a field that trials share, a value that it cannot take, or a
    metric of which less is better."""
    index = search.stage % len(training.stages)
    search_depths(search, training)
    for metric in (search.metric, search.against):
        if metric.endswith(("MedR", "MeanR")):
            raise ValueError(
                f"search: {metric} is better the less it is; name a metric of which more is better"
            )
    for name, dimension in search.space.items():
        first, stage, *rest = [*name.replace("-", "_").split("."), "", ""]
        if first in ("seed", "launch") or (first == "stages" and stage.isdigit() and int(stage) != index):
            raise ValueError(f"search.space: {name} is not what a trial of stage {index} is decided by")
        if rest[0] in ("frozen_text_blocks", "steps"):
            raise ValueError(f"search.space: {name} is set by search.depths or search.steps")
        values = dimension.values if hasattr(dimension, "values") else (dimension.low, dimension.high)
        for value in values:
            with_fields(training, {name: value}, "search.space")


def with_setting(training: Training, stage_index: int, setting: Setting) -> Training:
    """The training at this setting."""
    return with_fields(with_depth(training, stage_index, setting.depth), setting.values, "search.space")


def trial_training(training: Training, search: Search, setting: Setting, seed: int) -> Training:
    """What one trial trains: the searched stage with its setting and length, from another seed."""
    index = search.stage % len(training.stages)
    varied = replace(with_setting(training, index, setting), seed=seed)
    if not search.steps:
        return varied
    stages = list(varied.stages)
    stages[index] = replace(stages[index], steps=search.steps)
    return replace(varied, stages=tuple(stages))


def by_setting(trials: Iterable[Trial]) -> dict[tuple[object, ...], list[Trial]]:
    """The trials that differ in their seed only, together."""
    found: dict[tuple[object, ...], list[Trial]] = defaultdict(list)
    for trial in trials:
        found[trial.setting.key].append(trial)
    return found


def mean(trials: Sequence[Trial], metric: str) -> float:
    """The mean of a metric over trials, to nine places: equal counts of clips are equal whatever the rounding."""
    return round(fmean(trial.metrics[metric] for trial in trials), 9)


def winner(trials: Iterable[Trial], metric: str) -> Setting:
    """The setting with the best mean over its seeds; of equals the deepest, which keeps most of the start.

    Trials that were stopped do not count, and a setting with fewer finished seeds than another does not compete: its
    mean rests on less.
    """
    groups = list(by_setting(trial for trial in trials if not trial.stopped).values())
    most = max(map(len, groups))
    full = [group for group in groups if len(group) == most]
    return max(full, key=lambda group: (mean(group, metric), group[0].depth))[0].setting


def best_by_depth(trials: Iterable[Trial], metric: str) -> dict[int, list[Trial]]:
    """The trials of the best setting of each depth: of those that finished, or, where none did, of the stopped."""
    depths: dict[int, list[Trial]] = defaultdict(list)
    for trial in trials:
        depths[trial.depth].append(trial)
    found = {}
    for depth, own in sorted(depths.items()):
        finished = [trial for trial in own if not trial.stopped] or own
        found[depth] = max(by_setting(finished).values(), key=lambda group: (len(group), mean(group, metric)))
    return found
