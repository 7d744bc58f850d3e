"""The loop under Ray Train: rows in, checkpoints out, restarts from the last committed checkpoint."""

import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import ray.data
from ray.data import Dataset, ExecutionOptions
from ray.train import DataConfig
from ray.train.v2.api.config import RunConfig, ScalingConfig
from ray.train.v2.api.exceptions import TrainingFailedError

from infra.cpus import CpuPlan, most_workers, plan_cpus
from infra.errors import UserError, described, sentence_in
from infra.objects import absolute, arrow_filesystem, join
from infra.session import Session, quiet_data
from infra.tracking import TrackedRun
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
from trainers.cluster.scoring import check_gpus, checkpoint_config, result_checkpoint, validation_config
from trainers.cluster.worker import Job, work
from trainers.data.feed import preparing_tasks, rows_per_block, steps_of
from trainers.data.frame_choice import FrameChoice
from trainers.data.pixels import check_sides
from trainers.data.prepare import Prepare
from trainers.evaluation.validation import Validation
from trainers.loop.train import unit_of
from trainers.recipe import Launch, Stage, Training

Progress = Callable[[int, Mapping[str, float]], None]
"""Called about once a second with the steps done and the latest metrics."""


@runtime_checkable
class ClipStream(Protocol):
    """Clips in a fixed endless order, from a position on, prepared, in blocks of exactly `unit_rows`."""

    def __call__(
        self,
        *,
        seed: int,
        first_row: int,
        num_rows: int,
        unit_rows: int,
        choice: FrameChoice,
        prepare: Prepare,
        tasks: int,
        task_cpus: float,
    ) -> Dataset:
        """`choice`: which of a clip's frames are wanted; others need not be delivered.

        At most `tasks` tasks of `task_cpus` each are at work at a time on what a unit needs: decoding, preparing.
        """
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
    training: Training,
    stage_index: int,
    streams: Mapping[str, ClipStream],
    *,
    storage: str,
    run_name: str,
    start: str | None,
    run: TrackedRun,
    lineage: Mapping[str, str],
    resources: CpuPlan,
    session: Session,
    progress: Progress | None = None,
    validation: Validation | None = None,
) -> Trained:
    """Train one stage to its end, from its last committed checkpoint if there is one; a finished one returns at
    once.

    `storage/run_name` (any URI) belongs to this run alone, and so does the tracked `run`. `start`: checkpoint of
    the stage before, or a safetensors file; None: `training.init`, or fresh weights. `lineage` and the
    stage's name are saved with every checkpoint; entries "ledger/..." must not change within a run. `validation` scores
    checkpoints meanwhile; it changes no weights, and may be another one on the next call. ValueError for a
    recipe that cannot be launched, UserError naming what failed and what is kept.
    """
    stage = training.stages[stage_index]
    counts = worker_counts(stage, training.launch)
    check_sides(training.system.image_size, training.pixels)
    check_parts(training, stage)
    _check_tracking(run, session)
    folder = join(absolute(storage), run_name)
    check_gpus(validation, training.launch, resources, session)
    mend_book(folder)
    kept = latest_committed(folder)
    threads = training.launch.threads or (resources.threads if len(counts) == 1 else 0)
    saved_with = {**lineage, "stage": stage.name}
    first = absolute(start) if start else None
    job = Job(training, stage_index, folder, first, run, saved_with, threads, counts, validation)
    if kept:
        check_same_training(kept, training, stage_index, lineage)
        if kept.step == stage.steps:
            return Trained.at(result_checkpoint(job))
    with _sigint_as_before(), _reported(run, kept.step if kept else 0, progress):
        try:
            _trainer(job, streams, resources, session).fit()
        except TrainingFailedError as error:
            raise UserError(_what_failed(error, job, latest_committed(folder))) from error
    done = latest_committed(folder)
    if not done or done.step < stage.steps:  # Ray can miss what a worker raises just while it is asked
        reached = f"{done.step if done else 0} of {stage.steps} steps"
        raise UserError(
            f"training {folder} ended after {reached} and Ray gave no reason; run it again to continue"
        )
    return Trained.at(result_checkpoint(job))


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

    job: Job
    index: int
    rows: ClipStream
    resources: CpuPlan

    def __call__(self) -> Dataset:
        job, stage, resources = self.job, self.job.stage, self._resources_now()
        stream = stage.streams[self.index]
        if self.index == 0:  # the workers before are gone, and with them whoever wrote what is not committed
            remove_uncommitted(job.folder)
        kept = latest_committed(job.folder)
        step = kept.step if kept else 0
        seed = job.training.seed
        remaining = steps_of(stage, seed, self.index, step, stage.steps) * stream.batch_size
        if not remaining:
            return ray.data.range(0)
        prepare = Prepare(stream, job.training.system, job.training.pixels, seed)
        # Each of these tasks has a process: as many as Ray would start by their shares is too many.
        tasks, cpus = preparing_tasks(resources.readers_of(len(stage.streams)), resources.reader)
        return self.rows(
            seed=seed,
            first_row=steps_of(stage, seed, self.index, 0, step) * stream.batch_size,
            num_rows=remaining,
            unit_rows=rows_per_block(stream, job.training.pixels.crop, job.counts),
            choice=prepare.choice,
            prepare=prepare,
            tasks=tasks,
            task_cpus=cpus,
        )

    def _resources_now(self) -> CpuPlan:
        """The more workers an elastic run has, the fewer readers."""
        if len(self.job.counts) == 1:
            return self.resources
        total = ray.cluster_resources().get("CPU", 0.0)
        workers = largest(self.job.counts, most_workers(total, self.resources))
        streams, kept = len(self.job.stage.streams), self.resources.validation
        return plan_cpus(total, workers, streams, validation=kept)


def _trainer(job: Job, streams: Mapping[str, ClipStream], resources: CpuPlan, session: Session) -> Trainer:
    launch, fewest, most = job.training.launch, job.counts[0], job.counts[-1]
    filesystem, folder = arrow_filesystem(job.folder)
    in_order = ExecutionOptions(preserve_order=True)
    use_gpu = launch.on_gpu(session.num_gpus)
    scaling = ScalingConfig(
        num_workers=fewest if fewest == most else (fewest, most),
        use_gpu=use_gpu,
        resources_per_worker={"CPU": resources.worker, **({"GPU": resources.gpu} if use_gpu else {})},
    )
    quiet_data()
    trainer = Trainer(
        work,
        train_loop_config={"job": job},
        datasets={
            stream.name: _Remaining(job, index, streams[stream.name], resources)
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
        trainer.policies["scaling_policy"] = AllowedCounts(scaling, job.counts, resources)
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


@contextmanager
def _reported(run: TrackedRun, step: int, progress: Progress | None) -> Iterator[None]:
    """Hand to `progress`, once a second, what the worker writes to the tracker: its one way to this process."""
    ended = threading.Event()

    def watch(seen: int) -> None:
        while progress and not ended.wait(1.0):
            values = run.metrics()
            done = int(values.get("step", 0))
            if done > seen:
                seen = done
                progress(done, values)

    watcher = threading.Thread(target=watch, args=(step,), name="progress", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()


def _check_tracking(run: TrackedRun, session: Session) -> None:
    if session.num_nodes > 1 and run.uri.startswith("sqlite:"):
        raise UserError(
            "workers on other machines cannot write to a sqlite file; set MLFLOW_TRACKING_URI to a server"
        )


def _what_failed(error: TrainingFailedError, job: Job, kept: Committed | None) -> str:
    reason = sentence_in("\n".join(map(described, failures_of(error)))).rstrip(".")
    have = (
        f"kept: {kept.uri} (step {kept.step} of {job.stage.steps})" if kept else "no checkpoint was reached"
    )
    return f"training {job.folder} failed: {reason}; {have}"
