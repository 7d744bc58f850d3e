"""What a search may vary and how far it goes."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Search:
    """Freezing-depth search: how many lower text blocks stay as they are."""

    depths: tuple[int, ...] = ()
    """Depths tried, each a training run of its own; none: no search, the stage's own depth is trained."""
    seeds: tuple[int, ...] = (0,)
    """Seeds per depth; their spread is shown."""
    steps: int = 0
    """Optimiser steps of a trial; 0: as many as the stage has."""
    stage: int = -1
    """Index of the stage that is searched; earlier stages are trained once and shared."""
    metric: str = "D/t2v_R1"
    """Metric of the evaluation that decides."""
    stream: str = "val"
    """Stream of held-out clips the metric is taken on; never the one that results are reported on."""
    max_concurrent: int = 1
    """Trials at a time."""
