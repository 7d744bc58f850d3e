"""What was set aside and why: one Parquet file of rejects per input shard."""

import io
from collections.abc import Sequence

import pyarrow.parquet as pq

from infra import objects
from ingest.records import Reject, from_table, to_table
from ingest.stores.ledger import Ledger


def _uri(store: str, stream: str, shard_hash: str) -> str:
    return objects.join(store, stream, "quarantine", f"part-{shard_hash}.parquet")


def write_rejects(store: str, stream: str, shard_hash: str, rejects: Sequence[Reject]) -> None:
    """Store the rejects of one input shard; none, no file."""
    if rejects:
        buffer = io.BytesIO()
        pq.write_table(to_table(Reject, rejects), buffer, compression="zstd")
        objects.write_bytes(_uri(store, stream, shard_hash), buffer.getvalue())


def read_rejects(store: str, stream: str) -> list[Reject]:
    """The rejects of every committed shard of a stream, in stored order."""
    lines = Ledger(store, stream).committed().values()
    tables = objects.read_many([_uri(store, stream, line.shard) for line in lines if line.rejects])
    return [reject for data in tables for reject in from_table(Reject, pq.read_table(io.BytesIO(data)))]
