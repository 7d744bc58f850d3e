"""Which of a clip's candidate frames are read: so that no others travel, and of references no others are decoded."""

from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa

Choice = Callable[[str, int, int], Sequence[int]]
"""(uid, epoch, number of candidates) -> which of them, in the order of time; one may come several times."""


def chosen_frames(rows: pa.Table, epoch: int, choice: Choice) -> pa.Table:
    """The rows of clips with the frames that the choice takes in this epoch."""
    frames = rows["frames"].combine_chunks()
    borders = frames.offsets.to_numpy()
    uids = rows["uid"].to_pylist()
    taken = [
        low + np.asarray(choice(uid or "", epoch, int(high - low)), np.int64)
        for uid, low, high in zip(uids, borders[:-1], borders[1:], strict=True)
    ]
    counts = np.cumsum([0, *map(len, taken)])
    values = frames.values.take(pa.array(np.concatenate(taken) if taken else [], pa.int64()))
    chosen = pa.ListArray.from_arrays(pa.array(counts, pa.int32()), values)
    return rows.set_column(rows.column_names.index("frames"), rows.schema.field("frames"), chosen)
