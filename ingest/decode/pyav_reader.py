"""Frames with PyAV: reads all that FFmpeg reads, AV1 included."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from numpy.typing import NDArray

from ingest.decode.containers import OPTIONS, FrameIndex
from ingest.decode.failure import MediaError

_SEEK_GAIN = 24
"""Frames a seek must save; fewer are decoded faster than a decoder is flushed."""


def read_frames(path: Path, index: FrameIndex, wanted: Sequence[int]) -> Iterator[NDArray[np.uint8]]:
    """The frames of these numbers (rising) as RGB [h, w, 3]. Raises MediaError: undecodable."""
    try:
        with av.open(str(path), options=OPTIONS) as container:
            yield from _read(container, index, wanted)
    except av.FFmpegError as error:
        raise MediaError("undecodable", f"pyav: {type(error).__name__}: {error.strerror}") from error


def _read(container: InputContainer, index: FrameIndex, wanted: Sequence[int]) -> Iterator[NDArray[np.uint8]]:
    stream = container.streams[index.stream]
    assert isinstance(stream, av.VideoStream)
    stream.codec_context.thread_count = 1  # files are decoded side by side, not one on many cores
    keys = np.flatnonzero(index.keys)
    frames, position = container.decode(stream), 0
    for number in wanted:
        before = keys[keys <= number]
        if len(before) and before[-1] - position > _SEEK_GAIN:
            container.seek(int(index.pts[before[-1]]), stream=stream, backward=True)
            frames = container.decode(stream)
        frame = _next_at(frames, int(index.pts[number]))
        position = number + 1
        turned = np.rot90(frame.to_ndarray(format="rgb24"), k=round(frame.rotation / 90) % 4)
        yield np.ascontiguousarray(turned)


def _next_at(frames: Iterator[av.VideoFrame], pts: int) -> av.VideoFrame:
    """Decode up to the frame shown at `pts`."""
    for frame in frames:
        if frame.pts is not None and frame.pts >= pts:
            if frame.pts > pts:
                break
            return frame
    raise MediaError("undecodable", f"pyav: the frame at {pts} is missing")
