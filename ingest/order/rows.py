"""Rows of clips cut into units, each of them worked on by one task."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from ray.data import Dataset, TaskPoolStrategy

MAX_BLOCKS = 2_000
"""Blocks of plan of a dataset: more cost Ray more than they give."""
Transform = Callable[[pa.Table], Any]
"""The rows of a unit -> a block of as many."""


def in_units(
    rows: Dataset, unit_rows: int, work: Sequence[Transform], tasks: int, task_cpus: float
) -> Dataset:
    """Blocks of exactly `unit_rows` rows, each of them worked on in turn by all of `work`.

    At most `tasks` tasks of `task_cpus` each do so at a time. Cut in a stage of its own, every clip would travel once
    more, and the cutting would take a whole CPU; but Ray hands exactly a unit to a stage that a strict repartition
    follows, if both declare the same. `repartition` has no words for that (2.60), so its operator is told. (`tasks` is
    never unlimited: with a reader that declares the same CPUs and no limit, Ray would make one task of all three.)
    """
    pool = TaskPoolStrategy(size=tasks)
    done = rows.map_batches(
        _EachUnit(tuple(work)), batch_size=unit_rows, batch_format="pyarrow", num_cpus=task_cpus, compute=pool
    )
    cut = done.repartition(target_num_rows_per_block=unit_rows, strict=True)
    operator = cut._logical_plan.dag
    for name, declared in {"compute": pool, "ray_remote_args": {"num_cpus": task_cpus}}.items():
        object.__setattr__(operator, name, declared)
    return cut


@dataclass(frozen=True)
class _EachUnit:
    """One piece of work after the other."""

    work: tuple[Transform, ...]

    def __call__(self, rows: pa.Table) -> Any:
        done: Any = rows
        for step in self.work:
            done = step(done)
        return done
