"""What was set aside and why: one Parquet file of rejects per input shard."""

import io
from collections.abc import Iterable, Iterator, Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from infra import objects
from ingest.records import REJECT_SCHEMA, Reject, from_table, to_table
from ingest.stores.ledger import Ledger, Line

AGAIN = "reelscript quarantine RECIPE --only {uid}"
"""The command that tries one medium again; RECIPE is the recipe that made the store."""


def _uri(store: str, stream: str, shard_hash: str) -> str:
    return objects.join(store, stream, "quarantine", f"part-{shard_hash}.parquet")


def write_rejects(store: str, stream: str, shard_hash: str, rejects: Sequence[Reject]) -> None:
    """Store the rejects of one input shard, each with the command that tries it again; none, no file."""
    if rejects:
        commands = pa.array([AGAIN.format(uid=reject.uid) for reject in rejects])
        buffer = io.BytesIO()
        pq.write_table(
            to_table(Reject, rejects).append_column("command", commands), buffer, compression="zstd"
        )
        objects.write_bytes(_uri(store, stream, shard_hash), buffer.getvalue())


def read_rejects(store: str, stream: str) -> list[Reject]:
    """The rejects of every committed shard of a stream, in stored order."""
    lines = Ledger(store, stream).committed().values()
    return [reject for _, rejects in rejects_by_shard(store, stream, lines) for reject in rejects]


def rejects_by_shard(store: str, stream: str, lines: Iterable[Line]) -> Iterator[tuple[Line, list[Reject]]]:
    """Those of these committed shards that have any, one shard at a time."""
    for line in lines:
        if line.rejects:
            table = pq.read_table(io.BytesIO(objects.read_bytes(_uri(store, stream, line.shard))))
            known = [name for name in REJECT_SCHEMA.names if name in table.column_names]
            yield line, from_table(Reject, table.select(known))


def forget(store: str, stream: str, lines: Iterable[Line]) -> None:
    """Take committed shards out of the ledger, so that the next ingest makes them anew.

    Their names and, but for what has changed since, their bytes will be the same; until then their clips do not count.
    """
    for line in lines:
        objects.remove(objects.join(store, stream, "ledger", f"{line.shard}.json"))
