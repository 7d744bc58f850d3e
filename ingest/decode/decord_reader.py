"""Frames with decord: H.264 and the like in closed groups of pictures. It cannot read AV1."""

from collections.abc import Iterator, Sequence

import av  # noqa: F401  # before decord, whose own libvpx would otherwise take the place of PyAV's
import decord
import numpy as np
from numpy.typing import NDArray

from ingest.decode.containers import Film, FrameIndex
from ingest.decode.request import MediaError

UNREADABLE = frozenset({"av1", "libdav1d", "libaom-av1"})
_CHUNK = 24  # frames held uncompressed at a time
_TIME_TOLERANCE_S = 2e-3


def read_frames(film: Film, wanted: Sequence[int]) -> Iterator[NDArray[np.uint8]]:
    """The frames of these numbers (rising) as RGB [h, w, 3].

    Raises MediaError: "unsupported" where decord counts or times the frames otherwise than their packets.
    """
    if film.index.codec in UNREADABLE:
        raise MediaError("unsupported", f"decord cannot read {film.index.codec}")
    if not (film.index.closed and film.index.progressive):
        detail = "decord takes wrong frames from open groups of pictures and transport streams"
        raise MediaError("unsupported", detail)
    try:
        reader = decord.VideoReader(str(film.path), ctx=decord.cpu(0), num_threads=1)
        _check(reader, film.index, wanted)
        for start in range(0, len(wanted), _CHUNK):
            yield from reader.get_batch(list(wanted[start : start + _CHUNK])).asnumpy()
    except (decord.DECORDError, decord._ffi.base.DECORDLimitReachedError) as error:
        raise MediaError("undecodable", f"decord: {str(error).strip().splitlines()[-1][:300]}") from error


def _check(reader: decord.VideoReader, index: FrameIndex, wanted: Sequence[int]) -> None:
    if len(reader) != len(index.pts):
        raise MediaError("unsupported", f"decord counts {len(reader)} frames of {len(index.pts)}")
    starts = reader.get_frame_timestamp(list(wanted))[:, 0]
    expected = index.times_s[list(wanted)]
    if np.abs((starts - starts[0]) - (expected - expected[0])).max() > _TIME_TOLERANCE_S:
        raise MediaError("unsupported", "decord times the frames otherwise than their packets")
