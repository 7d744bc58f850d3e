"""From the shards of a dataset to this worker's batches, ahead of the loop and checked against the plan."""

import dataclasses
import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping

from torch import Tensor

from infra.errors import UserError
from trainers.batch import Batch, trim_padding
from trainers.recipe import Stage

BATCHES_AHEAD = 2  # per stream and worker, beside the one that Ray Data prefetches

Columns = Mapping[str, Tensor]
"""A batch as `Prepare` made it, in host memory."""


def to_batch(columns: Columns) -> Batch:
    """The columns of `Prepare` as a batch, its padding trimmed."""
    tokens = trim_padding(columns["tokens"])
    return Batch(columns["frames"], tokens, columns["keep"], columns["valid"], columns["position"])


def pinned(batch: Batch) -> Batch:
    """The same in page-locked memory, from which a GPU copies without waiting."""
    return Batch(**{f.name: getattr(batch, f.name).pin_memory() for f in dataclasses.fields(batch)})


def steps_of(stage: Stage, stream: int, first: int, stop: int) -> int:
    """How many of the steps first .. stop - 1 take this stream."""
    return sum(stage.schedule(step, len(stage.streams)) == stream for step in range(first, stop))


class Reader:
    """This worker's part of one stream's batches, fetched by a thread of its own from the moment it is made.

    So the streams of a stage start together, while the model is being built. Every batch is checked to hold rows
    of its own place in the plan: a dataset that began elsewhere than the checkpoint stops the run.
    """

    def __init__(
        self, stage: Stage, index: int, step: int, open_stream: Callable[[], Iterable[Columns]], pin: bool
    ) -> None:
        self._stream = stage.streams[index]
        self._first_row = steps_of(stage, index, 0, step) * self._stream.batch_size
        self._num_batches = steps_of(stage, index, step, stage.steps)
        self._open, self._pin = open_stream, pin
        self._queue: queue.Queue[Batch | Exception] = queue.Queue(BATCHES_AHEAD)
        # A daemon: a worker that fails must not wait for a thread that waits for it.
        threading.Thread(target=self._read, name=f"reader {self._stream.name}", daemon=True).start()

    def __iter__(self) -> Iterator[Batch]:
        for _ in range(self._num_batches):
            found = self._queue.get()
            if isinstance(found, Exception):
                raise found
            yield found

    def _read(self) -> None:
        if not self._num_batches:
            return
        try:
            for number, columns in enumerate(self._open()):
                batch = to_batch(columns)
                self._check(batch, self._first_row + number * self._stream.batch_size)
                self._queue.put(pinned(batch) if self._pin else batch)
            raise UserError(f"stream {self._stream.name!r} ended before the last step")
        except Exception as error:  # raised where the batch is asked for
            self._queue.put(error)

    def _check(self, batch: Batch, first: int) -> None:
        lowest, highest = int(batch.position.min()), int(batch.position.max())
        if lowest < first or highest >= first + self._stream.batch_size:
            raise UserError(
                f"stream {self._stream.name!r} delivered rows {lowest} to {highest} where the checkpoint needs "
                f"{first} to {first + self._stream.batch_size - 1}"
            )
