"""Stored clips as Ray datasets: in a fixed endless order for training, once each for evaluation, as tars for others."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

import pyarrow as pa
import pyarrow.compute as pc
import ray.data
from ray.data import Dataset

from infra.errors import UserError, as_user_errors
from ingest.cluster.units import MAX_BLOCKS, Transform, in_units
from ingest.order.choice import Choice, chosen_frames
from ingest.order.row_groups import Order, row_groups
from ingest.order.windows import read_window
from ingest.settings import Frames
from ingest.stages.references import ReferencedFrames
from ingest.stores.ledger import Ledger, Part
from ingest.stores.shards import part_uri, parts_of, read_part
from ingest.stores.webdataset import export_part

_DECODED_AT_ONCE = 16  # clips; a block of more would be large


def clip_stream(
    store: str,
    stream: str,
    *,
    seed: int,
    first_row: int,
    num_rows: int,
    unit_rows: int,
    choice: Choice | None = None,
    frames: Frames | None = None,
    prepare: Transform | None = None,
    tasks: int = 2,
    task_cpus: float = 0.5,
) -> Dataset:
    """Clips in the order of (ledger, seed): rows [first_row, first_row + num_rows) of the endless order.

    Rows are those of CLIP_SCHEMA with `position`, `epoch` and `valid`, or what `prepare` makes of them; each block
    holds exactly `unit_rows` rows. Of a clip's candidate frames only those that `choice` takes are delivered.
    `frames`: the settings of a store of references, whose frames are decoded on the way. Units are decoded and
    prepared by at most `tasks` tasks at a time of `task_cpus` each. Raises UserError for a stream without clips,
    ValueError for rows that are not whole units.
    """
    if num_rows % unit_rows:
        raise ValueError(f"num_rows: {num_rows} rows are not whole units of {unit_rows}")
    order = Order(row_groups(stored_parts(store, stream)), seed)
    cuts = order.cuts(first_row, num_rows, MAX_BLOCKS)
    rows = [{"first_row": first, "num_rows": count} for first, count in cuts]
    decode = _decoding(frames, choice)
    reader = _WindowReader(store, stream, order, choice, decode is not None)
    dataset = ray.data.from_items(rows, override_num_blocks=max(1, len(rows))).map_batches(
        reader, batch_size=None, batch_format="pyarrow", num_cpus=0.5
    )
    work = [step for step in (decode, prepare) if step]
    dataset = in_units(dataset, unit_rows, work, tasks, task_cpus)
    dataset.context.execution_options.preserve_order = True
    return dataset


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
            for window in self.order.windows(cut["first_row"], cut["num_rows"]):
                rows = read_window(self.store, self.stream, window, self.choice)
                _check(rows, self.stream, self.decoded)
                yield rows


def stored_clips(
    store: str, stream: str, *, choice: Choice | None = None, frames: Frames | None = None
) -> Dataset:
    """Every committed clip of a stream once, in stored order; `choice` (in epoch 0) and `frames` as for `clip_stream`.

    Raises UserError for a stream without clips.
    """
    uris = [{"uri": part_uri(store, stream, part.name)} for part in stored_parts(store, stream)]
    plan = ray.data.from_items(uris, override_num_blocks=min(len(uris), MAX_BLOCKS))
    reader = _PartReader(stream, choice, frames)
    dataset = plan.map_batches(reader, batch_size=None, batch_format="pyarrow", num_cpus=0.5)
    dataset.context.execution_options.preserve_order = True
    return dataset


def read_stored(
    store: str, stream: str, *, choice: Choice | None = None, frames: Frames | None = None
) -> Iterator[pa.Table]:
    """The same clips read in this process, a table after the other."""
    reader = _PartReader(stream, choice, frames)
    for part in stored_parts(store, stream):
        yield from reader(pa.table({"uri": [part_uri(store, stream, part.name)]}))


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
