"""The loop under Ray Train: rows in, checkpoints out, restarts from the last committed checkpoint."""

import signal
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import ray.data
import ray.train
import torch
from ray.data import Dataset, ExecutionOptions, TaskPoolStrategy
from ray.train import Checkpoint, CheckpointConfig, DataConfig, FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer, get_device
from ray.train.v2.api.exceptions import TrainingFailedError, WorkerGroupError

from infra.errors import UserError, sentence_in
from infra.objects import arrow_filesystem, join
from infra.session import CpuPlan, Session, quiet_data
from infra.tracking import Run
from trainers import checkpoint
from trainers.data import Prepare
from trainers.loop import Learner, build_learner, scheduled, train
from trainers.pixels import check_sides
from trainers.reading import Columns, Reader, steps_of
from trainers.recipe import Stage, Stream, Training
from trainers.runs import (
    Committed,
    absolute,
    check_same_training,
    checkpoint_name,
    checkpoint_step,
    latest_committed,
    remove_uncommitted,
)

Progress = Callable[[int, Mapping[str, float]], None]
"""Called about once a second with the steps done and the latest metrics."""


@runtime_checkable
class ClipStream(Protocol):
    """Rows of clips in a fixed endless order, from a position on, in blocks of exactly `unit_rows` rows."""

    def __call__(self, *, seed: int, first_row: int, num_rows: int, unit_rows: int) -> Dataset: ...


@dataclass(frozen=True)
class Trained:
    """A finished stage."""

    checkpoint: str
    """URI of the checkpoint after the last step."""
    step: int
    metrics: dict[str, float]
    """What was logged last."""


def train_stage(
    training: Training,
    stage_index: int,
    streams: Mapping[str, ClipStream],
    *,
    storage: str,
    run_name: str,
    start: str | None,
    run: Run,
    lineage: Mapping[str, str],
    resources: CpuPlan,
    session: Session,
    progress: Progress | None = None,
) -> Trained:
    """Train one stage to its end, from its last committed checkpoint if there is one; a finished one returns at
    once.

    `storage/run_name` (any URI) belongs to this run alone, and so does the tracked `run`. `start`: checkpoint of
    the stage before, or a safetensors file; None: `training.init`, or fresh weights. `lineage` and the
    stage's name are saved with every checkpoint; entries "ledger/..." must not change within a run. ValueError for a
    recipe that cannot be launched, UserError naming what failed and what is kept.
    """
    stage = training.stages[stage_index]
    check_split(stage, training.launch.workers)
    check_sides(training.model.video.image_size, training.pixels)
    _check_tracking(run, session)
    folder = join(absolute(storage), run_name)
    kept = latest_committed(folder)
    if kept:
        check_same_training(kept, training, stage_index, lineage)
        if kept.step == stage.steps:
            return Trained(kept.uri, kept.step, kept.metrics)
    remove_uncommitted(folder)
    threads = training.launch.threads or resources.threads
    kin = {**lineage, "stage": stage.name}
    job = Job(training, stage_index, folder, absolute(start) if start else None, run, kin, threads)
    with _sigint_as_before(), _reported(run, kept.step if kept else 0, progress):
        try:
            _trainer(job, streams, resources, session).fit()
        except TrainingFailedError as error:
            raise UserError(_what_failed(error, job, latest_committed(folder))) from error
    done = latest_committed(folder)
    assert done is not None
    assert done.step == stage.steps
    return Trained(done.uri, done.step, done.metrics)


def check_split(stage: Stage, workers: int) -> None:
    """ValueError unless every stream's global batch is whole units and the workers divide them."""
    for stream in stage.streams:
        units, rest = divmod(stream.batch_size, stream.rows_per_unit)
        if rest:
            raise ValueError(
                f"stream {stream.name!r}: batch_size {stream.batch_size} is no multiple of rows_per_unit "
                f"{stream.rows_per_unit}"
            )
        if units % workers:
            raise ValueError(
                f"launch.workers: {workers} workers cannot share the {units} units of stream {stream.name!r} "
                f"(batch_size {stream.batch_size}, rows_per_unit {stream.rows_per_unit}) equally"
            )


@dataclass(frozen=True)
class Job:
    """All that a worker needs to know."""

    training: Training
    stage_index: int
    folder: str
    """URI of the run: checkpoints and Train's book of them."""
    start: str | None
    run: Run
    lineage: dict[str, str]
    threads: int

    @property
    def stage(self) -> Stage:
        """The stage that is trained."""
        return self.training.stages[self.stage_index]


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
        job, stage = self.job, self.job.stage
        stream = stage.streams[self.index]
        kept = latest_committed(job.folder)
        step = kept.step if kept else 0
        remaining = steps_of(stage, self.index, step, stage.steps) * stream.batch_size
        if not remaining:
            return ray.data.range(0)
        rows = self.rows(
            seed=job.training.seed,
            first_row=steps_of(stage, self.index, 0, step) * stream.batch_size,
            num_rows=remaining,
            unit_rows=stream.rows_per_unit,
        )
        prepare = Prepare(stream, job.training.model, job.training.pixels, job.training.seed)
        return rows.map_batches(
            prepare,
            batch_size=None,
            batch_format="pyarrow",
            num_cpus=self.resources.reader,
            # Each of these tasks has a process: as many as Ray would start by their shares is too many.
            compute=TaskPoolStrategy(size=max(1, self.resources.readers // len(stage.streams))),
        )


def _trainer(
    job: Job, streams: Mapping[str, ClipStream], resources: CpuPlan, session: Session
) -> TorchTrainer:
    launch = job.training.launch
    use_gpu = session.num_gpus > 0 if launch.use_gpu is None else launch.use_gpu
    filesystem, folder = arrow_filesystem(job.folder)
    in_order = ExecutionOptions(preserve_order=True)
    quiet_data()
    return TorchTrainer(
        _work,
        train_loop_config={"job": job},
        datasets={
            stream.name: _Remaining(job, index, streams[stream.name], resources)
            for index, stream in enumerate(job.stage.streams)
        },
        # Locality would decide which worker gets which unit; they take turns instead.
        dataset_config=DataConfig(execution_options=in_order, enable_shard_locality=False),
        scaling_config=ScalingConfig(
            num_workers=launch.workers, use_gpu=use_gpu, resources_per_worker={"CPU": resources.worker}
        ),
        run_config=RunConfig(
            name=Path(folder).name,
            storage_path=str(Path(folder).parent),
            storage_filesystem=filesystem,
            failure_config=FailureConfig(max_failures=launch.max_failures),
            checkpoint_config=CheckpointConfig(num_to_keep=launch.keep_checkpoints),
        ),
    )


def _work(config: Mapping[str, Any]) -> None:
    """What every worker runs."""
    job: Job = config["job"]
    torch.set_num_threads(job.threads)
    device = get_device()
    resume = _restored(job)
    step = checkpoint_step(resume) if resume else 0
    pin = device.type == "cuda"
    readers = [
        Reader(job.stage, index, step, partial(_open_stream, stream), pin)
        for index, stream in enumerate(job.stage.streams)
    ]
    learner = build_learner(job.training, job.stage_index, device, job.start, resume)
    assert learner.step == step
    first = ray.train.get_context().get_world_rank() == 0
    with job.run.stream() if first else nullcontext() as metrics:

        def log(step: int, values: Mapping[str, float]) -> None:
            if metrics:
                metrics.log(step, {"step": step, **values})

        def save(step: int, values: Mapping[str, float]) -> None:
            if metrics:
                metrics.flush()
            _save(job, learner, values, first)

        train(learner, scheduled(job.stage, step, [iter(reader) for reader in readers]), log, save)


def _open_stream(stream: Stream) -> Iterable[Columns]:
    """This worker's share of a stream."""
    rows = stream.batch_size // ray.train.get_context().get_world_size()
    shard = ray.train.get_dataset_shard(stream.name)
    batches: Iterable[Columns] = shard.iter_torch_batches(
        batch_size=rows, prefetch_batches=1, device="cpu", drop_last=True
    )
    return batches


def _restored(job: Job) -> str | None:
    """URI of the checkpoint that Train hands to this worker."""
    found = ray.train.get_checkpoint()
    return join(job.folder, Path(found.path).name) if found else None


def _save(job: Job, learner: Learner, values: Mapping[str, float], first: bool) -> None:
    metrics = {"step": learner.step, **values}
    name = checkpoint_name(learner.step)
    if not first:
        ray.train.report(metrics, checkpoint_dir_name=name)
        return
    with tempfile.TemporaryDirectory() as folder:
        checkpoint.save(Path(folder), learner.task.model, learner.state(), job.training, job.lineage)
        ray.train.report(metrics, checkpoint=Checkpoint.from_directory(folder), checkpoint_dir_name=name)


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
def _reported(run: Run, step: int, progress: Progress | None) -> Iterator[None]:
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


def _check_tracking(run: Run, session: Session) -> None:
    if session.num_nodes > 1 and run.uri.startswith("sqlite:"):
        raise UserError(
            "workers on other machines cannot write to a sqlite file; set MLFLOW_TRACKING_URI to a server"
        )


def _what_failed(error: TrainingFailedError, job: Job, kept: Committed | None) -> str:
    failures = error.worker_failures.values() if isinstance(error, WorkerGroupError) else [error]
    reason = sentence_in("\n".join(str(failure) for failure in failures)).rstrip(".")
    have = (
        f"kept: {kept.uri} (step {kept.step} of {job.stage.steps})" if kept else "no checkpoint was reached"
    )
    return f"training {job.folder} failed: {reason}; {have}"
