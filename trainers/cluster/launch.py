"""The loop under Ray Train: rows in, checkpoints out, restarts from the last committed checkpoint."""

import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import ray.data
from ray.data import Dataset, ExecutionOptions
from ray.train import DataConfig
from ray.train.v2.api.config import RunConfig, ScalingConfig
from ray.train.v2.api.exceptions import TrainingFailedError

from infra.cpus import CpuPlan, most_workers, plan_cpus
from infra.errors import UserError, first_reason
from infra.objects import arrow_filesystem
from infra.session import Session, quiet_data
from infra.ticking import each_second
from infra.tracking import TrackedRun
from ingest.order.rows import Rows, UnitWork
from trainers.checkpoints.run_folder import (
    Committed,
    check_same_training,
    latest_committed,
    mend_book,
    remove_uncommitted,
)
from trainers.cluster.controller import (
    AllowedCounts,
    BookCopy,
    NoRetryOfPermanent,
    Trainer,
    failures_of,
    largest,
)
from trainers.cluster.job import StageJob
from trainers.cluster.scoring import check_gpus, checkpoint_config, result_checkpoint, validation_config
from trainers.cluster.worker import train_worker
from trainers.data.feed import preparing_tasks, rows_per_block, steps_of
from trainers.data.pixels import check_sides
from trainers.data.prepare import Prepare
from trainers.loop.train import unit_of
from trainers.recipe import Stage, Training

Progress = Callable[[int, Mapping[str, float]], None]
"""Called about once a second with the steps done and the latest metrics."""


@runtime_checkable
class ClipStream(Protocol):
    """Clips in a fixed endless order, from a position on, prepared, in blocks of exactly a unit."""

    def __call__(self, rows: Rows, work: UnitWork) -> Dataset:
        """Rows of CLIP_SCHEMA with `position`, `epoch` and `valid`, of whose candidate frames just those are delivered
        that `work.choice` takes; or what `work.prepare` makes of them."""
        ...


@dataclass(frozen=True)
class Trained:
    """A finished stage."""

    checkpoint: str
    """URI of the checkpoint that it hands on: after the last step, or the best by its validation."""
    step: int
    """Steps done at that checkpoint."""
    metrics: dict[str, float]
    """What was logged last before it, and its validation scores."""

    @classmethod
    def at(cls, kept: Committed) -> "Trained":
        """A stage that hands on this checkpoint."""
        return cls(kept.uri, kept.step, kept.metrics)


def train_stage(
    job: StageJob,
    streams: Mapping[str, ClipStream],
    plan: CpuPlan,
    session: Session,
    progress: Progress | None = None,
) -> Trained:
    """Train a stage to its end, or to `job.until`, from its last committed checkpoint if there is one.

    What was trained so far before returns at once. ValueError for a recipe that cannot be launched, UserError naming
    what failed and what is kept.
    """
    check_launch(job, plan, session)
    folder = job.folder
    mend_book(folder)
    kept = latest_committed(folder)
    if kept:
        check_same_training(kept, job.training, job.stage_index, job.lineage)
        if kept.step >= job.last_step:
            return Trained.at(result_checkpoint(job))
    with _sigint_as_before(), _reported(job.run, kept.step if kept else 0, progress):
        try:
            _trainer(job, streams, plan, session).fit()
        except TrainingFailedError as error:
            raise UserError(_what_failed(error, job, latest_committed(folder))) from error
    done = latest_committed(folder)
    if not done or done.step < job.last_step:  # Ray can miss what a worker raises just while it is asked
        reached = f"{done.step if done else 0} of {job.last_step} steps"
        raise UserError(
            f"training {folder} ended after {reached} and Ray gave no reason; run it again to continue"
        )
    return Trained.at(result_checkpoint(job))


def check_launch(job: StageJob, plan: CpuPlan, session: Session) -> None:
    """ValueError for a recipe that cannot be launched, UserError for one that this cluster cannot run."""
    training = job.training
    assert job.counts, "or it says why there are none"
    check_sides(training.system.image_size, training.pixels)
    check_parts(training, job.stage)
    check_gpus(job.validation, training.launch, plan, session)
    _check_tracking(job.run, session)


def check_parts(training: Training, stage: Stage) -> None:
    """ValueError where batches are to be taken in parts and an objective needs them whole."""
    if training.launch.parts > 1:
        for stream in stage.streams:
            unit_of(stage, stream)


@dataclass(frozen=True)
class _Remaining:
    """The rows of one stream from the checkpoint's position to the last step.

    Train calls it in its controller whenever a group of workers starts, so it asks for the position then.
    """

    job: StageJob
    index: int
    clips: ClipStream
    plan: CpuPlan

    def __call__(self) -> Dataset:
        job, stage, plan = self.job, self.job.stage, self._plan_now()
        stream = stage.streams[self.index]
        if self.index == 0:  # the workers before are gone, and with them whoever wrote what is not committed
            remove_uncommitted(job.folder)
        kept = latest_committed(job.folder)
        step, seed = kept.step if kept else 0, job.training.seed
        first, remaining = (
            steps_of(stage, seed, self.index, *between) * stream.batch_size
            for between in ((0, step), (step, job.last_step))
        )
        if not remaining:
            return ray.data.range(0)
        prepare = Prepare(stream, job.training.system, job.training.pixels, seed)
        # Each of these tasks has a process: as many as Ray would start by their shares is too many.
        tasks, cpus = preparing_tasks(plan.readers_of(len(stage.streams)), plan.reader)
        unit = rows_per_block(stream, job.training.pixels.crop, job.counts)
        return self.clips(Rows(seed, first, remaining, unit), UnitWork(prepare.choice, prepare, tasks, cpus))

    def _plan_now(self) -> CpuPlan:
        """The more workers an elastic run has, the fewer readers."""
        if len(self.job.counts) == 1:
            return self.plan
        total = ray.cluster_resources().get("CPU", 0.0)
        workers = largest(self.job.counts, most_workers(total, self.plan))
        streams, kept = len(self.job.stage.streams), self.plan.validation
        return plan_cpus(total, workers, streams, validation=kept)


def _trainer(job: StageJob, streams: Mapping[str, ClipStream], plan: CpuPlan, session: Session) -> Trainer:
    launch, fewest, most = job.training.launch, job.counts[0], job.counts[-1]
    filesystem, folder = arrow_filesystem(job.folder)
    in_order = ExecutionOptions(preserve_order=True)
    use_gpu = launch.on_gpu(session.num_gpus)
    scaling = ScalingConfig(
        num_workers=fewest if fewest == most else (fewest, most),
        use_gpu=use_gpu,
        resources_per_worker={"CPU": plan.worker, **({"GPU": plan.gpu} if use_gpu else {})},
    )
    quiet_data()
    trainer = Trainer(
        train_worker,
        train_loop_config={"job": job, "threads": launch.threads or (plan.threads if fewest == most else 0)},
        datasets={
            stream.name: _Remaining(job, index, streams[stream.name], plan)
            for index, stream in enumerate(job.stage.streams)
        },
        # Locality would decide which worker gets which unit; they take turns instead.
        dataset_config=DataConfig(execution_options=in_order, enable_shard_locality=False),
        scaling_config=scaling,
        run_config=RunConfig(
            name=Path(folder).name,
            storage_path=str(Path(folder).parent),
            storage_filesystem=filesystem,
            checkpoint_config=checkpoint_config(job),
            callbacks=[BookCopy(job.folder)],
        ),
        validation_config=validation_config(job),
    )
    trainer.policies = {"failure_policy": NoRetryOfPermanent(launch.max_failures)}
    if fewest < most:
        trainer.policies["scaling_policy"] = AllowedCounts(scaling, job.counts, plan)
    return trainer


@contextmanager
def _sigint_as_before() -> Iterator[None]:
    """Train's own handler of Ctrl-C outlives the training and would end the process with exit code 0."""
    main = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGINT) if main else None
    try:
        yield
    finally:
        if main:
            signal.signal(signal.SIGINT, before)


def _reported(run: TrackedRun, step: int, progress: Progress | None) -> AbstractContextManager[None]:
    """Hand to `progress`, once a second, what the worker writes to the tracker: its one way to this process."""
    if progress is None:
        return nullcontext()
    seen = step

    def tell() -> None:
        nonlocal seen
        values = run.metrics()
        if (done := int(values.get("step", 0))) > seen:
            seen = done
            progress(done, values)

    return each_second(tell)


def _check_tracking(run: TrackedRun, session: Session) -> None:
    if session.num_nodes > 1 and run.uri.startswith("sqlite:"):
        raise UserError(
            "workers on other machines cannot write to a sqlite file; set MLFLOW_TRACKING_URI to a server"
        )


def _what_failed(error: TrainingFailedError, job: StageJob, kept: Committed | None) -> str:
    reason = first_reason(failures_of(error)).rstrip(".")
    have = f"kept: {kept.uri} (step {kept.step} of {job.last_step})" if kept else "no checkpoint was reached"
    return f"training {job.folder} failed: {reason}; {have}"
