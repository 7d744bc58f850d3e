"""Rows of clips cut into units, each of them worked on by one task."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from ray.data import Dataset, TaskPoolStrategy

from ingest.order.rows import Transform, UnitWork

MAX_BLOCKS = 2_000
"""Blocks of plan of a dataset: more cost Ray more than they give."""


def in_units(rows: Dataset, unit_rows: int, transforms: Sequence[Transform], work: UnitWork) -> Dataset:
    """Blocks of exactly `unit_rows` rows, each of them worked on in turn by all of `transforms`.

    At most `work.tasks` tasks of `work.task_cpus` each do so at a time. Cut in a stage of its own, every clip would
    travel once more, and the cutting would take a whole CPU; but Ray hands exactly a unit to a stage that a strict
    repartition follows, if both declare the same. `repartition` has no words for that (2.60), so its operator is told.
    (`tasks` is never unlimited: with a reader that declares the same CPUs and no limit, Ray would make one task of all
    three.)
    """
    pool = TaskPoolStrategy(size=work.tasks)
    done = rows.map_batches(
        _EachUnit(tuple(transforms)),
        batch_size=unit_rows,
        batch_format="pyarrow",
        num_cpus=work.task_cpus,
        compute=pool,
    )
    cut = done.repartition(target_num_rows_per_block=unit_rows, strict=True)
    operator = cut._logical_plan.dag
    for name, declared in {"compute": pool, "ray_remote_args": {"num_cpus": work.task_cpus}}.items():
        assert hasattr(operator, name), f"Ray's repartition has no {name}: see tests/infra/test_ray_names.py"
        object.__setattr__(operator, name, declared)
    return cut


def settled(dataset: Dataset) -> Dataset:
    """The same, whose rows keep their order, and whose workers' errors come as they were raised."""
    dataset.context.execution_options.preserve_order = True
    dataset.context.raise_original_map_exception = True
    return dataset


@dataclass(frozen=True)
class _EachUnit:
    """One after the other."""

    transforms: tuple[Transform, ...]

    def __call__(self, rows: pa.Table) -> Any:
        done: Any = rows
        for step in self.transforms:
            done = step(done)
        return done
