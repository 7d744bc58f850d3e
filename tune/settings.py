"""The settings of a search: which there are, what each trains, and which cannot be."""

import difflib
import itertools
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from infra.fields import path_of, short_names, with_fields
from trainers.evaluation.protocol import Declared
from trainers.recipe import Training
from tune.space import Grid, Search, Value


@dataclass(frozen=True)
class Setting:
    """What is varied, without the seed."""

    values: Mapping[str, Value] = field(default_factory=dict)
    """Fields of the space by name."""
    variant: str = ""
    """Named set of further fields (`Search.variants`); "": none."""

    @property
    def key(self) -> tuple[object, ...]:
        """The same for equal settings."""
        return (self.variant, *sorted(self.values.items()))

    @property
    def words(self) -> list[str]:
        """The variant and every field with its value, "frozen_below.text-3"."""
        short = short_names(self.values)
        return [*filter(None, [self.variant]), *(f"{short[n]}-{_short(v)}" for n, v in self.values.items())]

    def name(self, seed: int) -> str:
        """A folder's name: "frozen_below.text-3-seed-1"."""
        return re.sub(r"[^\w.+-]", "_", "-".join([*self.words, f"seed-{seed}"]))


def _short(value: Value) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def planned(search: Search) -> list[tuple[Setting, int]]:
    """(setting, seed) of every trial of a search that does not depend on what it finds.

    Variants and grids with each other; of the other dimensions the same draws everywhere, whoever asks and when.
    """
    grids = [(name, each.values) for name, each in search.space.items() if isinstance(each, Grid)]
    combined = itertools.product(*([(name, value) for value in values] for name, values in grids))
    settings = [
        Setting({**dict(point), **drawn}, variant)
        for variant, point, drawn in itertools.product(search.variants or [""], combined, _draws(search))
    ]
    return [(setting, seed) for setting in settings for seed in search.seeds]


def num_trials(search: Search) -> int:
    """How many trials the search is."""
    if search.sampler == "optuna":
        return search.samples * len(search.seeds)
    return len(planned(search))


def _draws(search: Search) -> list[dict[str, Value]]:
    drawn = {name: each for name, each in search.space.items() if not isinstance(each, Grid)}
    if not drawn:
        return [{}]
    sources = {name: random.Random(name) for name in drawn}
    return [{name: drawn[name].at(sources[name].random()) for name in drawn} for _ in range(search.samples)]


def check_search(search: Search, training: Training, declared: Mapping[str, Declared]) -> None:
    """ValueError for what `check_space` and `check_metrics` refuse."""
    check_space(search, training)
    check_metrics(search, declared)


def check_space(search: Search, training: Training) -> None:
    """ValueError for stages or a field that there is not, a field that trials share, or a value that it cannot take."""
    trained, there = trained_stages(search, training), len(training.stages)
    if not search.stages >= 1 or trained[-1] >= there:
        raise ValueError(
            f"search.stages: there are not {search.stages} stages from stage {trained.start} on; the recipe has {there}"
        )
    if search.stages > 1 and search.scheduler == "asha":
        raise ValueError(
            "search.scheduler: asha compares trials within one stage; set search.stages 1 or grid"
        )
    for name, dimension in search.space.items():
        ends = (dimension.low, dimension.high) if not hasattr(dimension, "values") else dimension.values
        for value in ends:
            _check_field(f"search.space: {name}", name, value, training, trained)
    for variant, values in search.variants.items():
        for name, value in values.items():
            where = f"search.variants: {variant}: {name}"
            if path_of(name) in map(path_of, search.space):
                raise ValueError(f"{where} is a field of search.space too; it can be in one of them")
            _check_field(where, name, value, training, trained)


def _check_field(where: str, name: str, value: Value, training: Training, trained: range) -> None:
    first, stage, *rest = [*path_of(name), "", ""]
    if first in ("seed", "launch") or (first == "stages" and stage.isdigit() and int(stage) not in trained):
        stages = ", ".join(training.stages[index].name for index in trained)
        raise ValueError(f"{where} is not what a trial of stage {stages} is decided by")
    if rest[0] == "steps":
        raise ValueError(f"{where} is set by search.steps")
    with_fields(training, {name: value}, where.removesuffix(f": {name}"))


def check_metrics(search: Search, declared: Mapping[str, Declared]) -> None:
    """ValueError for a number that no protocol declares or of which neither more nor less is better, or for none."""
    if not search.metric:
        leading = ", ".join(name for name, number in declared.items() if number.leading)
        raise ValueError(f"search.metric is not set; name the number that decides, such as {leading}")
    for where, metric in (("metric", search.metric), ("against", search.against)):
        if metric and metric not in declared:
            near = difflib.get_close_matches(metric, declared, n=1, cutoff=0.0)
            raise ValueError(f"search.{where}: nothing declares {metric!r}; did you mean {near[0]!r}?")
        if metric and declared[metric].more_is_better is None:
            raise ValueError(
                f"search.{where}: of {metric} neither more nor less is better; it decides nothing"
            )


def trained_stages(search: Search, training: Training) -> range:
    """Indices of the stages that a trial trains."""
    first = search.stage % len(training.stages)
    return range(first, first + search.stages)


def with_setting(training: Training, search: Search, setting: Setting) -> Training:
    """The training at this setting."""
    varied = with_fields(training, setting.values, "search.space")
    return with_fields(varied, search.variants.get(setting.variant, {}), "search.variants")


def trial_training(training: Training, search: Search, setting: Setting, seed: int) -> Training:
    """What one trial trains: the searched stages with its setting and length, from another seed."""
    varied = replace(with_setting(training, search, setting), seed=seed)
    stages = list(varied.stages)
    for index in trained_stages(search, training):
        stages[index] = replace(stages[index], steps=search.steps or stages[index].steps)
    return replace(varied, stages=tuple(stages))
