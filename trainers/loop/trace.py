"""Which clips every step used, as small Parquet objects below a run: one a rank and checkpoint.

What is written covers exactly the steps up to the last checkpoint that was begun. A run that resumes from an earlier
one removes what lies behind it and writes it anew, so the trace names what went into the weights and nothing twice.
"""

import io
from collections.abc import Collection
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import UInt8
from torch import Tensor

from infra.objects import join, list_files, read_bytes, remove, write_bytes
from trainers.data.batch import Batch
from trainers.ranks import own_rank

FOLDER = "trace"
_SCHEMA = pa.schema(
    [("step", pa.int64()), ("stream", pa.string()), ("uid", pa.string()), ("media_uid", pa.string())]
)


class Trace:
    """This rank's rows of (step, stream, uid of a clip, of its medium); steps count from 1, as checkpoints do."""

    def __init__(self, folder: str, steps_done: int) -> None:
        """`folder`: URI of the run."""
        self._folder = join(folder, FOLDER)
        self._first = steps_done + 1
        self._rows: list[tuple[int, str, str, str]] = []
        if own_rank() == 0:
            for uri in list_files(self._folder):
                if _first_step(uri) > steps_done:
                    remove(uri)

    def add(self, step: int, stream: str, batch: Batch) -> None:
        """A step's clips; rows that could not be read are no part of it."""
        self._rows += [(step, stream, uid, media_uid) for uid, media_uid in readable(batch.clips.uids)]

    def write(self, step: int) -> None:
        """One object with the steps since the last, up to this one."""
        columns = [list(column) for column in zip(*self._rows, strict=True)] or [[]] * len(_SCHEMA)
        table = pa.table(dict(zip(_SCHEMA.names, columns, strict=True)), schema=_SCHEMA)
        sink = io.BytesIO()
        pq.write_table(table, sink, compression="zstd")
        name = f"{self._first:08d}-{step:08d}.rank-{own_rank()}.parquet"
        write_bytes(join(self._folder, name), sink.getvalue())
        self._first, self._rows = step + 1, []


def readable(uids: UInt8[Tensor, "b 2 bytes"]) -> list[tuple[str, str]]:
    """The uids of the clips that could be read and of their media, of `Clips.uids`."""
    return [(bytes(row[0]).hex(), bytes(row[1]).hex()) for row in uids.numpy() if row.any()]


def steps_using(folder: str, uids: Collection[str]) -> list[tuple[int, str, str]]:
    """(step, stream, uid of the clip) of every use that the run at the URI `folder` made of these clips, or of clips
    of these media, in order of steps."""
    wanted = [[("uid", "in", set(uids))], [("media_uid", "in", set(uids))]]  # the one or the other
    tables = [
        pq.read_table(io.BytesIO(read_bytes(uri)), columns=_SCHEMA.names[:3], filters=wanted)
        for uri in list_files(join(folder, FOLDER))
    ]
    return sorted(tuple(row.values()) for table in tables for row in table.to_pylist())


def _first_step(uri: str) -> int:
    return int(Path(uri).name.partition("-")[0])
