"""What every training worker runs, and how it commits checkpoints behind the training."""

import tempfile
import threading
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import ray.train
import torch
from ray.train import Checkpoint, CheckpointUploadMode
from ray.train.torch import get_device

from infra.cpus import machine_cores
from infra.objects import join, local_path, upload_folder
from trainers.checkpoints import checkpoint
from trainers.checkpoints.checkpoint import Snapshot
from trainers.checkpoints.run_folder import checkpoint_name, checkpoint_step
from trainers.cluster.job import StageJob
from trainers.data.batch import Columns
from trainers.data.feed import Reader
from trainers.loop.sharding import snapshot
from trainers.loop.train import Learner, build_learner, scheduled, train
from trainers.models.weights.names import own_weights
from trainers.recipe import Stream


def train_worker(config: Mapping[str, Any]) -> None:
    """Train from the checkpoint that Train hands out to the end of the stage.

    `config`: the `StageJob`, and the threads of a worker's tensor operations (0: the cores of its machine, divided by
    the workers on it)."""
    job: StageJob = config["job"]
    context = ray.train.get_context()
    torch.set_num_threads(config["threads"] or max(1, machine_cores() // context.get_local_world_size()))
    device = get_device()
    resume = _restored(job)
    step = checkpoint_step(resume) if resume else 0
    readers = [
        Reader(
            job.training, job.stage_index, index, (step, job.last_step), partial(_open_stream, stream), device
        )
        for index, stream in enumerate(job.stage.streams)
    ]
    learner = build_learner(job.training, job.stage_index, device, job.start, resume)
    assert learner.step == step
    saver = Saver(job)
    with job.run.stream() if context.get_world_rank() == 0 else nullcontext() as metrics:

        def log(step: int, values: Mapping[str, float]) -> None:
            if metrics:
                metrics.log(step, {"step": step, **values})

        def save(step: int, values: Mapping[str, float]) -> None:
            if metrics:
                metrics.flush()
            saver.save(learner, values)

        batches = scheduled(job.stage, job.training.seed, step, [iter(reader) for reader in readers])
        train(learner, batches, log, save, job.folder, job.last_step)


def _open_stream(stream: Stream) -> Iterable[Columns]:
    """This worker's share of a stream."""
    rows = stream.batch_size // ray.train.get_context().get_world_size()
    shard = ray.train.get_dataset_shard(stream.name)
    batches: Iterable[Columns] = shard.iter_torch_batches(
        batch_size=rows, prefetch_batches=1, device="cpu", drop_last=True
    )
    return batches


def _restored(job: StageJob) -> str | None:
    """URI of the checkpoint that Train hands to this worker."""
    found = ray.train.get_checkpoint()
    return join(job.folder, Path(found.path).name) if found else None


class Saver:
    """Copies what is to be saved and lets the training go on while Train's thread writes and commits it.

    One at a time: the next waits until the last is written. Train commits them in order, ends a worker whose writing
    failed with that error, and waits for the last when the training is done.
    """

    def __init__(self, job: StageJob) -> None:
        self._job = job
        self._writing = threading.Lock()

    def save(self, learner: Learner, values: Mapping[str, float]) -> None:
        """All workers call it; of a model that every worker holds the first one writes."""
        metrics, name = {"step": learner.step, **values}, checkpoint_name(learner.step)
        shared = self._job.training.launch.parallel == "fsdp"
        if not shared and ray.train.get_context().get_world_rank() > 0:
            ray.train.report(
                metrics, checkpoint_dir_name=name, checkpoint_upload_mode=CheckpointUploadMode.ASYNC
            )
            return
        self._writing.acquire()  # released by another thread, so no `with`
        part = snapshot(own_weights(learner.task.model), learner.state())
        # Train takes no other filesystem object than its own: of two of one S3 it says that they differ.
        storage = ray.train.get_context().get_storage()
        path = storage.build_checkpoint_path_from_name(name)
        ray.train.report(
            metrics,
            checkpoint=Checkpoint(path, storage.storage_filesystem),
            checkpoint_dir_name=name,
            checkpoint_upload_mode=CheckpointUploadMode.ASYNC,
            checkpoint_upload_fn=partial(self._write, part),
            delete_local_checkpoint_after_upload=False,  # it is the stored one
            validation=self._job.validates(learner.step),
        )

    def _write(self, part: Snapshot, stored: Checkpoint, name: str) -> Checkpoint:
        uri, saved = join(self._job.folder, name), {**self._job.lineage, "stage": self._job.stage.name}
        try:
            if local := local_path(uri):
                checkpoint.write(local, part, self._job.training, saved)
            else:
                with tempfile.TemporaryDirectory() as folder:
                    checkpoint.write(Path(folder), part, self._job.training, saved)
                    upload_folder(folder, uri)
        finally:
            self._writing.release()
        return stored
