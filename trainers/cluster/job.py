"""One stage to be trained, as whoever asks for it, Train's controller and the workers know it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from infra.objects import absolute
from infra.tracking import TrackedRun
from trainers.evaluation.validation import Validation
from trainers.launch_settings import Launch
from trainers.recipe import Stage, Training


@dataclass(frozen=True)
class StageJob:
    """A stage of a training, where its run lies, and what it begins with."""

    training: Training
    stage_index: int
    folder: str
    """URI of the run, which belongs to it alone: checkpoints and Train's book of them."""
    run: TrackedRun
    """The tracked run, as well its own."""
    start: str | None = None
    """Checkpoint of the stage before, or a safetensors file; None: `training.init`, or fresh weights."""
    lineage: Mapping[str, str] = field(default_factory=dict)
    """Saved with every checkpoint; entries "ledger/..." must not change within a run."""
    validation: Validation | None = None
    """How checkpoints are scored, if they are; it changes no weights, and may be another one on the next call."""
    until: int | None = None
    """Steps after which this call ends, with a checkpoint; None: the stage's own. Rates and schedules are those of the
    whole stage, so that the next call goes on as if nothing had been."""

    def __post_init__(self) -> None:
        """Workers run in another folder, where relative paths fail."""
        object.__setattr__(self, "folder", absolute(self.folder))
        object.__setattr__(self, "start", absolute(self.start) if self.start else None)

    @property
    def stage(self) -> Stage:
        """The stage that is trained."""
        return self.training.stages[self.stage_index]

    @property
    def last_step(self) -> int:
        """Steps done when this call ends."""
        return min(self.until or self.stage.steps, self.stage.steps)

    @cached_property
    def counts(self) -> tuple[int, ...]:
        """Numbers of workers that the run may have, ascending. ValueError where there is none."""
        return worker_counts(self.stage, self.training.launch)

    def validates(self, step: int) -> bool:
        """Whether the checkpoint after this step is scored."""
        if not self.validation:
            return False
        return self.validation.wants(step, self.stage.steps, self.training.launch.checkpoint_every)


def worker_counts(stage: Stage, launch: Launch) -> tuple[int, ...]:
    """The numbers of workers, of those `launch` allows, that share every stream's global batch equally, ascending.

    ValueError where there is none, or a global batch is no whole number of units.
    """
    counts = list(range(launch.fewest_workers, launch.most_workers + 1))
    for stream in stage.streams:
        units, rest = divmod(stream.batch_size, stream.rows_per_unit)
        if rest:
            raise ValueError(
                f"stream {stream.name!r}: batch_size {stream.batch_size} is no multiple of rows_per_unit "
                f"{stream.rows_per_unit}"
            )
        counts = [count for count in counts if units % count == 0]
        if not counts:
            raise ValueError(
                f"launch.workers: {launch.workers} workers cannot share the {units} units of stream {stream.name!r} "
                f"(batch_size {stream.batch_size}, rows_per_unit {stream.rows_per_unit}) equally"
            )
    return tuple(counts)
