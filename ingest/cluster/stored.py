"""Stored clips as Ray datasets: in a fixed endless order for training, once each for evaluation, as tars for others."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import pyarrow as pa
import pyarrow.compute as pc
import ray.data
from ray.data import Dataset

from infra.errors import UserError, as_user_errors
from ingest.cluster.units import MAX_BLOCKS, in_units, settled
from ingest.order.choice import Choice, chosen_frames
from ingest.order.row_groups import Order, row_groups
from ingest.order.rows import Rows, UnitWork
from ingest.order.windows import read_window
from ingest.settings import Frames
from ingest.stages.references import ReferencedFrames
from ingest.stores.ledger import Ledger, Part
from ingest.stores.shards import part_uri, parts_of, read_part
from ingest.stores.webdataset import export_part

_DECODED_AT_ONCE = 16  # clips; a block of more would be large


@dataclass(frozen=True)
class StoredStream:
    """The committed clips of one stream of a store."""

    store: str
    stream: str
    frames: Frames | None = None
    """The settings of a store of references, whose frames are decoded on the way."""

    def __call__(self, rows: Rows, work: UnitWork = UnitWork()) -> Dataset:
        """Rows of the endless order of (ledger, seed): those of CLIP_SCHEMA with `position`, `epoch` and `valid`, or
        what `work.prepare` makes of them. UserError for a stream without clips."""
        order = Order(row_groups(stored_parts(self.store, self.stream)), rows.seed)
        cuts = [
            {"first": first, "count": count}
            for first, count in order.cuts(rows.first, rows.count, MAX_BLOCKS)
        ]
        decode = _decoding(self.frames, work.choice)
        reader = _WindowReader(self.store, self.stream, order, work.choice, decode is not None)
        read = ray.data.from_items(cuts, override_num_blocks=max(1, len(cuts))).map_batches(
            reader, batch_size=None, batch_format="pyarrow", num_cpus=0.5
        )
        dataset = in_units(read, rows.unit, [step for step in (decode, work.prepare) if step], work)
        return settled(dataset)

    def once(self, choice: Choice | None = None) -> Dataset:
        """Every clip once, in stored order, with the frames that `choice` takes in epoch 0. UserError as above."""
        uris = [{"uri": uri} for uri in self._uris()]
        plan = ray.data.from_items(uris, override_num_blocks=min(len(uris), MAX_BLOCKS))
        reader = _PartReader(self.stream, choice, self.frames)
        dataset = plan.map_batches(reader, batch_size=None, batch_format="pyarrow", num_cpus=0.5)
        return settled(dataset)

    def here(self, choice: Choice | None = None) -> Iterator[pa.Table]:
        """The same clips read in this process, a table after the other."""
        reader = _PartReader(self.stream, choice, self.frames)
        for uri in self._uris():
            yield from reader(pa.table({"uri": [uri]}))

    def _uris(self) -> list[str]:
        return [
            part_uri(self.store, self.stream, part.name) for part in stored_parts(self.store, self.stream)
        ]


@dataclass(frozen=True)
class _WindowReader:
    """Rows of plan to rows of clips."""

    store: str
    stream: str
    order: Order
    choice: Choice | None
    decoded: bool

    def __call__(self, cuts: pa.Table) -> Iterator[pa.Table]:
        for cut in cuts.to_pylist():
            for window in self.order.windows(cut["first"], cut["count"]):
                rows = read_window(self.store, self.stream, window, self.choice)
                _check(rows, self.stream, self.decoded)
                yield rows


@dataclass(frozen=True)
class _PartReader:
    """Parts to their rows: a block a part, or a few clips where their frames are decoded here."""

    stream: str
    choice: Choice | None
    frames: Frames | None

    def __call__(self, uris: pa.Table) -> Iterator[pa.Table]:
        decode = _decoding(self.frames, self.choice)
        for uri in uris["uri"].to_pylist():
            rows = read_part(uri)
            rows = chosen_frames(rows, 0, self.choice) if self.choice else rows
            _check(rows, self.stream, decode is not None)
            if decode is None:
                yield rows
                continue
            for start in range(0, rows.num_rows, _DECODED_AT_ONCE):
                yield decode(rows.slice(start, _DECODED_AT_ONCE))


def _decoding(frames: Frames | None, choice: Choice | None) -> ReferencedFrames | None:
    """What decodes the frames of a store of references; None for other stores."""
    return ReferencedFrames(frames, choice) if frames and frames.store == "reference" else None


def _check(rows: pa.Table, stream: str, decoded: bool) -> None:
    """UserError for references that nobody will decode: they would all count as damaged."""
    if decoded or not {"frames", "frame_times_s"} <= set(rows.column_names):
        return
    bare = pc.and_(pc.equal(pc.list_value_length(rows["frames"]), 0), _some(rows["frame_times_s"]))
    if pc.any(bare).as_py():
        raise UserError(
            f"stream {stream!r} holds references and no frames; set ingest.frames.store to 'reference', as when it "
            "was ingested"
        )


def _some(lists: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.greater(pc.list_value_length(lists), 0)


def stored_parts(store: str, stream: str) -> list[Part]:
    """The committed parts of a stream. UserError where there is none."""
    parts = parts_of(Ledger(store, stream).committed().values())
    if not parts:
        raise UserError(
            f"{store}: stream {stream!r} holds no clips; run `reelscript ingest` into this store first"
        )
    return parts


def export_webdataset(store: str, stream: str, parts: Sequence[Part]) -> Iterator[bool]:
    """Write these parts of a stream as tars; gives, part by part, whether there was something to write."""
    rows = [{"part": json.dumps(asdict(part))} for part in parts]
    plan = ray.data.from_items(rows, override_num_blocks=min(len(rows), MAX_BLOCKS))
    written = plan.map_batches(
        _TarWriter(store, stream), batch_size=None, batch_format="pyarrow", num_cpus=0.5
    )
    with as_user_errors():
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
