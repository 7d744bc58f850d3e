"""Stored clips as Ray datasets: in a fixed endless order for training, once each for evaluation, as tars for others."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import pyarrow as pa
import ray.data
from ray.data import Dataset

from infra.errors import UserError, told
from ingest.stores.ledger import Ledger, Part
from ingest.stores.order import Order, row_groups
from ingest.stores.shards import part_uri, parts_of, read_part
from ingest.stores.webdataset import export_part
from ingest.stores.windows import read_window

_MAX_BLOCKS = 2_000  # more blocks of plan cost Ray more than they give


def clip_stream(
    store: str,
    stream: str,
    *,
    seed: int,
    first_row: int,
    num_rows: int,
    unit_rows: int,
    columns: Sequence[str] | None = None,
    reader_cpus: float = 0.5,
) -> Dataset:
    """Clips in the order of (ledger, seed): rows [first_row, first_row + num_rows) of the endless order.

    Rows are those of CLIP_SCHEMA (or only `columns`) with `position`, `epoch` and `valid`; each block holds
    exactly `unit_rows` rows. Raises UserError for a stream without clips, ValueError for rows that are not
    whole units.
    """
    if num_rows % unit_rows:
        raise ValueError(f"num_rows: {num_rows} rows are not whole units of {unit_rows}")
    order = Order(row_groups(_parts(store, stream)), seed)
    cuts = order.cuts(first_row, num_rows, _MAX_BLOCKS)
    rows = [{"first_row": first, "num_rows": count} for first, count in cuts]
    reader = _WindowReader(store, stream, order, tuple(columns) if columns else None)
    dataset = (
        ray.data.from_items(rows, override_num_blocks=max(1, len(rows)))
        .map_batches(reader, batch_size=None, batch_format="pyarrow", num_cpus=reader_cpus)
        .repartition(target_num_rows_per_block=unit_rows, strict=True)
    )
    dataset.context.execution_options.preserve_order = True
    return dataset


@dataclass(frozen=True)
class _WindowReader:
    """Rows of plan to rows of clips."""

    store: str
    stream: str
    order: Order
    columns: tuple[str, ...] | None

    def __call__(self, cuts: pa.Table) -> Iterator[pa.Table]:
        for cut in cuts.to_pylist():
            for window in self.order.windows(cut["first_row"], cut["num_rows"]):
                yield read_window(self.store, self.stream, window, self.columns)


def stored_clips(store: str, stream: str) -> Dataset:
    """Every committed clip of a stream once, in stored order. Raises UserError for a stream without clips."""
    uris = [{"uri": part_uri(store, stream, part.name)} for part in _parts(store, stream)]
    plan = ray.data.from_items(uris, override_num_blocks=min(len(uris), _MAX_BLOCKS))
    dataset = plan.map_batches(_read_parts, batch_size=None, batch_format="pyarrow", num_cpus=0.5)
    dataset.context.execution_options.preserve_order = True
    return dataset


def _read_parts(uris: pa.Table) -> Iterator[pa.Table]:
    for uri in uris["uri"].to_pylist():
        yield read_part(uri)


def _parts(store: str, stream: str) -> list[Part]:
    parts = parts_of(Ledger(store, stream).committed().values())
    if not parts:
        raise UserError(
            f"{store}: stream {stream!r} holds no clips; run `reelscript ingest` into this store first"
        )
    return parts


def export_webdataset(store: str, stream: str) -> Iterator[bool]:
    """Write every committed part of a stream as a tar; gives, part by part, whether there was something to write.

    Raises UserError for a stream without clips.
    """
    parts = [{"part": json.dumps(asdict(part))} for part in _parts(store, stream)]
    plan = ray.data.from_items(parts, override_num_blocks=min(len(parts), _MAX_BLOCKS))
    written = plan.map_batches(
        _TarWriter(store, stream), batch_size=None, batch_format="pyarrow", num_cpus=0.5
    )
    with told():
        for row in written.iter_rows():
            yield row["written"]


@dataclass(frozen=True)
class _TarWriter:
    """Parts to tars."""

    store: str
    stream: str

    def __call__(self, parts: pa.Table) -> pa.Table:
        found = [Part.from_json(text) for text in parts["part"].to_pylist()]
        return pa.table({"written": [export_part(self.store, self.stream, part) for part in found]})
