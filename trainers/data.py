"""Rows of clips -> batches: what is read of a clip, and the stage of the data workers that prepares it.

This file is light on purpose: the settings are unpickled in every process that a dataset passes through, and
importing torch into each would cost seconds per run. The work is in `trainers.rows`, loaded where it is done.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any

import pyarrow as pa
from numpy.typing import NDArray

from trainers.frame_choice import FrameChoice
from trainers.recipe import Model, Pixels, Stream

COLUMNS = ("uid", "media_uid", "kind", "captions", "transcripts", "frames")
"""Columns of a clip that training reads, beside position, epoch and valid."""


@dataclass(frozen=True)
class Prepare:
    """A block of clip rows -> the columns of `Batch` as arrays. An unreadable row gets valid=False."""

    stream: Stream
    model: Model
    pixels: Pixels
    seed: int
    training: bool = True
    """False: the middle frame of each slice, the central crop, all patches, the first caption."""

    @property
    def choice(self) -> FrameChoice:
        """Which frames it takes; a stream that asks it delivers no others."""
        return FrameChoice(self.stream.frames, self.seed, self.training)

    def __call__(self, rows: pa.Table) -> dict[str, NDArray[Any]]:
        """`rows`: COLUMNS, position and epoch (int64), valid (bool). ValueError for texts that do not fit."""
        columns: dict[str, NDArray[Any]] = _rows_module().Rows(self)(rows)
        return columns


@cache
def _rows_module() -> Any:
    """`trainers.rows`, imported by a thread of its own.

    Ray interrupts a worker's main thread when it cancels a task, and a torch whose import was interrupted fails to
    import for the rest of the process, which would spoil the worker for the run that is started again.
    """
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(import_module, "trainers.rows").result()
