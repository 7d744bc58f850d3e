"""Windows of an order, read: rows in shuffled order, each with its position, its epoch and whether it is sound."""

import logging
from functools import cache

import numpy as np
import pyarrow as pa

from ingest.order.choice import Choice, chosen_frames
from ingest.order.row_groups import RowGroup, ShuffleWindow
from ingest.records import CLIP_SCHEMA
from ingest.stores.shards import part_uri, read_row_group

STREAM_SCHEMA = (
    CLIP_SCHEMA.append(pa.field("position", pa.int64()))
    .append(pa.field("epoch", pa.int64()))
    .append(pa.field("valid", pa.bool_()))
)
_log = logging.getLogger(__name__)


def read_window(
    store: str,
    stream: str,
    window: ShuffleWindow,
    choice: Choice | None = None,
) -> pa.Table:
    """The rows of a window, with all their candidate frames or those that `choice` takes.

    A damaged row group keeps its places, with `valid` False and empty fields.
    """
    found = [_chosen(_read_group(store, stream, group), window.epoch, choice) for group in window.groups]
    table = pa.concat_tables([table for table, _ in found]).take(pa.array(window.order, pa.int64()))
    valid = np.repeat([sound for _, sound in found], [group.num_rows for group in window.groups])
    positions = np.arange(window.position, window.position + len(window.order))
    return (
        table.append_column("position", pa.array(positions, pa.int64()))
        .append_column("epoch", pa.array(np.full(len(positions), window.epoch), pa.int64()))
        .append_column("valid", pa.array(valid[list(window.order)], pa.bool_()))
    )


def _chosen(found: tuple[pa.Table, bool], epoch: int, choice: Choice | None) -> tuple[pa.Table, bool]:
    """The group without the frames that nobody asks for, group by group: so they are let go at once."""
    rows, sound = found
    return (chosen_frames(rows, epoch, choice) if choice else rows), sound


def _read_group(store: str, stream: str, group: RowGroup) -> tuple[pa.Table, bool]:
    uri = part_uri(store, stream, group.part)
    try:
        table = read_row_group(uri, group.index)
    except (
        pa.ArrowInvalid,
        pa.ArrowIndexError,
    ) as error:  # a missing or unreachable part is an error, not this
        _log.warning("%s: row group %d is damaged (%s)", uri, group.index, error)
        return _empty_rows(group.num_rows), False
    if table.num_rows != group.num_rows:
        _log.warning("%s: row group %d has %d rows", uri, group.index, table.num_rows)
        return _empty_rows(group.num_rows), False
    return table, True


@cache
def _empty_rows(num_rows: int) -> pa.Table:
    arrays = [pa.array([_EMPTY.get(str(f.type)[:4], ())] * num_rows, f.type) for f in CLIP_SCHEMA]
    return pa.Table.from_arrays(arrays, schema=CLIP_SCHEMA)


_EMPTY = {"stri": "", "doub": 0.0}  # lists are empty
