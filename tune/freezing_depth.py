"""How many lower text blocks to keep as they are: the trials of the search, and what it finds."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from statistics import fmean

from trainers.recipe import Training
from tune.space import Search


@dataclass(frozen=True)
class Trial:
    """One trained depth and seed."""

    depth: int
    """Lower text blocks kept as they are."""
    seed: int
    metrics: Mapping[str, float]
    """The evaluation's."""
    checkpoint: str
    run_id: str
    """Its tracked run, nested under the search's."""


@dataclass(frozen=True)
class SearchResult:
    """All trials, by depth and seed, and the best depth."""

    trials: tuple[Trial, ...]
    winner: int


def planned(search: Search, training: Training) -> list[tuple[int, int]]:
    """(depth, seed) of every trial. ValueError for a depth that the text tower does not have."""
    layers = training.model.text.layers
    for depth in search.depths:
        if not 0 <= depth <= layers:
            raise ValueError(
                f"search.depths: {depth} is not within 0 to {layers}, the blocks of the text tower"
            )
    return [(depth, seed) for depth in search.depths for seed in search.seeds]


def with_depth(training: Training, stage_index: int, depth: int) -> Training:
    """The training with this many frozen text blocks in one stage."""
    stages = list(training.stages)
    stages[stage_index] = replace(stages[stage_index], frozen_text_blocks=depth)
    return replace(training, stages=tuple(stages))


def trial_training(training: Training, search: Search, depth: int, seed: int) -> Training:
    """What one trial trains: the searched stage with its depth and length, from another seed."""
    index = search.stage % len(training.stages)
    varied = replace(with_depth(training, index, depth), seed=seed)
    if not search.steps:
        return varied
    stages = list(varied.stages)
    stages[index] = replace(stages[index], steps=search.steps)
    return replace(varied, stages=tuple(stages))


def means(trials: Iterable[Trial], metric: str) -> dict[int, float]:
    """The mean of a metric over the seeds of each depth."""
    values: dict[int, list[float]] = defaultdict(list)
    for trial in trials:
        values[trial.depth].append(trial.metrics[metric])
    return {depth: fmean(found) for depth, found in sorted(values.items())}


def winner(trials: Iterable[Trial], metric: str) -> int:
    """The depth with the best mean; of equals the deepest, which trains least and keeps most of the start."""
    by_depth = means(trials, metric)
    return max(by_depth, key=lambda depth: (by_depth[depth], depth))
