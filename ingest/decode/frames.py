"""Frames of a window as JPEG: the sampling, the choice of decoder, the resizing. Runs in the decoding process."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ingest.decode import decord_reader, pyav_reader
from ingest.decode.containers import FrameIndex
from ingest.decode.failure import MediaError
from ingest.decode.images import encode
from ingest.decode.request import FrameRequest
from ingest.decode.resize import resize_short_side
from ingest.decode.sampling import middle_indices


def window_frames(path: Path, index: FrameIndex, request: FrameRequest) -> tuple[list[float], list[bytes]]:
    """Times in seconds and JPEGs of the middle frames of `count` even slices of the window.

    A window with fewer frames gives all it has. Raises MediaError: undecodable, unsupported, truncated.
    """
    if request.start_s >= index.duration_s:
        raise MediaError("truncated", f"no frame after {request.start_s:.2f} s")
    first, stop = index.between(request.start_s, request.end_s)
    wanted = [first + int(number) for number in middle_indices(request.count, stop - first)]
    return [float(index.times_s[number]) for number in wanted], _decode(path, index, wanted, request)


def _decode(path: Path, index: FrameIndex, wanted: Sequence[int], request: FrameRequest) -> list[bytes]:
    if request.decoder != "pyav":
        try:
            frames = decord_reader.read_frames(path, index, wanted)
            return [_stored(frame, request) for frame in frames]
        except MediaError:
            if request.decoder == "decord":
                raise
    frames = pyav_reader.read_frames(path, index, wanted)
    return [_stored(frame, request) for frame in frames]


def _stored(frame: NDArray[np.uint8], request: FrameRequest) -> bytes:
    return encode(resize_short_side(frame, request.short_side, request.resize), request.quality)
