"""From the shards of a dataset to this worker's batches, ahead of the loop and checked against the plan."""

import math
import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence

import torch

from infra.errors import UserError
from trainers.data.batch import Batch, Columns, tensors, to_batch
from trainers.recipe import Stage, Stream, Training

BATCHES_AHEAD = 2  # per stream and worker, beside the one that Ray Data prefetches
_BLOCK_BYTES = 64 << 20  # Ray splits blocks of twice that


def rows_per_block(stream: Stream, crop: int, counts: Sequence[int]) -> int:
    """Rows that are prepared and travel as one: whole units that divide a worker's share of a batch.

    As many as keep a block small, since Ray's work for a block is that for ten rows. `counts`: of workers that the run
    may have.
    """
    units = stream.batch_size // stream.rows_per_unit
    share = math.gcd(*(units // count for count in counts))
    unit_bytes = stream.rows_per_unit * stream.frames * crop * crop * 3
    fitting = [n for n in range(1, share + 1) if share % n == 0 and n * unit_bytes <= _BLOCK_BYTES]
    return max(fitting, default=1) * stream.rows_per_unit


def preparing_tasks(readers: int, reader: float) -> tuple[int, float]:
    """How many tasks prepare a stream's rows at a time, and the CPUs of each, where `readers` of `reader` CPUs fit.

    Ray asks ten times a second which tasks have ended, and starts the next one or two rounds after one has; half as
    many again are at work meanwhile.
    """
    tasks = readers + readers // 2
    return tasks, reader * readers / tasks


def steps_of(stage: Stage, seed: int, stream: int, first: int, stop: int) -> int:
    """How many of the steps first .. stop - 1 take this stream."""
    return sum(stage.schedule(step, seed, len(stage.streams)) == stream for step in range(first, stop))


Sent = tuple[Batch, torch.cuda.Event | None]
"""A batch and what happens when it has arrived; None: it was there at once."""


class DeviceCopy:
    """Host to device: on a CUDA stream of its own, from page-locked memory, while earlier batches are trained on."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._side = torch.cuda.Stream(device) if device.type == "cuda" else None

    def start(self, batch: Batch) -> Sent:
        """Start the copies; called by the thread that reads."""
        if self._side is None:
            return batch, None
        pinned = batch.pinned()
        with torch.cuda.stream(self._side):
            return pinned.to(self._device), self._side.record_event()

    def finish(self, sent: Sent) -> Batch:
        """What is computed from now on waits for the copies, and their memory is not used again before it is done."""
        batch, copied = sent
        if copied is not None:
            computing = torch.cuda.current_stream(self._device)
            computing.wait_event(copied)
            for tensor in tensors(batch):
                if tensor.is_cuda:
                    tensor.record_stream(computing)
        return batch


class Reader:
    """This worker's part of one stream's batches, fetched by a thread of its own from the moment it is made.

    So the streams of a stage start together, while the model is being built. Every batch is checked to hold rows
    of its own place in the plan: a dataset that began elsewhere than the checkpoint stops the run.
    """

    def __init__(
        self,
        training: Training,
        stage_index: int,
        index: int,
        steps: tuple[int, int],
        open_stream: Callable[[], Iterable[Columns]],
        device: torch.device,
    ) -> None:
        stage, seed = training.stages[stage_index], training.seed
        self._stream, self._system = stage.streams[index], training.system
        self._first_row = steps_of(stage, seed, index, 0, steps[0]) * self._stream.batch_size
        self._num_batches = steps_of(stage, seed, index, *steps)
        self._open = open_stream
        self._copy = DeviceCopy(device)
        self._queue: queue.Queue[Sent | Exception] = queue.Queue(BATCHES_AHEAD)
        # A daemon: a worker that fails must not wait for a thread that waits for it.
        threading.Thread(target=self._read, name=f"reader {self._stream.name}", daemon=True).start()

    def __iter__(self) -> Iterator[Batch]:
        for _ in range(self._num_batches):
            found = self._queue.get()
            if isinstance(found, Exception):
                raise found
            yield self._copy.finish(found)

    def _read(self) -> None:
        if not self._num_batches:
            return
        try:
            for number, columns in enumerate(self._open()):
                batch = to_batch(columns, self._system)
                self._check(batch, self._first_row + number * self._stream.batch_size)
                self._queue.put(self._copy.start(batch))
            raise UserError(f"stream {self._stream.name!r} ended before the last step")
        except Exception as error:  # raised where the batch is asked for
            self._queue.put(error)

    def _check(self, batch: Batch, first: int) -> None:
        lowest, highest = int(batch.clips.position.min()), int(batch.clips.position.max())
        if lowest < first or highest >= first + self._stream.batch_size:
            raise UserError(
                f"stream {self._stream.name!r} delivered rows {lowest} to {highest} where the checkpoint needs "
                f"{first} to {first + self._stream.batch_size - 1}"
            )
