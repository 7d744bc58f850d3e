"""Frames with PyAV: reads all that FFmpeg reads, AV1 included, and decodes no more than the wanted frames need."""

from collections.abc import Iterator, Sequence

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from ingest.decode.containers import Film, FrameIndex
from ingest.decode.request import MediaError

_SEEK_GAIN = 4
"""Frames a seek must save; fewer are decoded faster than a decoder is emptied."""
_MARKED = frozenset({"h264", "hevc"})
"""Codecs whose frames say whether others refer to them."""


def read_frames(film: Film, wanted: Sequence[int]) -> Iterator[NDArray[np.uint8]]:
    """The frames of these numbers (rising) as RGB [h, w, 3]. Raises MediaError: undecodable."""
    try:
        colours = VideoReformatter()  # one for all: a frame's own would set up the conversion anew each time
        for frame in _decoded(film, wanted):
            rgb = colours.reformat(frame, format="rgb24").to_ndarray()
            yield np.ascontiguousarray(np.rot90(rgb, k=round(frame.rotation / 90) % 4))
    except av.FFmpegError as error:
        raise MediaError("undecodable", f"pyav: {type(error).__name__}: {error.strerror}") from error


def _decoded(film: Film, wanted: Sequence[int]) -> Iterator[av.VideoFrame]:
    stream = film.container.streams[film.index.stream]
    assert isinstance(stream, av.VideoStream)
    for key, numbers in runs(film.index, wanted):
        film.container.seek(int(film.index.seek[key]), stream=stream, backward=True)
        times = [int(film.index.pts[number]) for number in numbers]
        skip = film.index.progressive and film.index.codec in _MARKED
        yield from _skipping(film, stream, times) if skip else _in_order(film, stream, times)


def runs(index: FrameIndex, wanted: Sequence[int]) -> list[tuple[int, list[int]]]:
    """(key frame to seek to, wanted frames decoded from there): a new run where seeking saves frames."""
    keys = np.flatnonzero(index.keys)
    found: list[tuple[int, list[int]]] = []
    for number in wanted:
        before = keys[: np.searchsorted(keys, number, side="right")]
        key = int(before[-1]) if len(before) else 0
        if not found or key - found[-1][1][-1] > _SEEK_GAIN:
            found.append((key, []))
        found[-1][1].append(number)
    return found


def _in_order(film: Film, stream: av.VideoStream, times: Sequence[int]) -> Iterator[av.VideoFrame]:
    """Decode everything up to each frame shown at these times."""
    frames = film.container.decode(stream)
    for time in times:
        frame = next((frame for frame in frames if frame.pts is not None and frame.pts >= time), None)
        if frame is None or frame.pts != time:
            raise _missing(time)
        yield frame


def _skipping(film: Film, stream: av.VideoStream, times: Sequence[int]) -> Iterator[av.VideoFrame]:
    """As `_in_order`, without the frames to which no other refers, and without waiting for those that follow."""
    codec, left, unsent = stream.codec_context, list(times), len(times)
    codec.skip_frame = "NONREF"
    for packet in film.container.demux(stream):
        needed = packet.pts in times
        unsent -= needed
        codec.skip_frame = "DEFAULT" if needed else "NONREF"
        frames = codec.decode(packet)
        if not unsent:
            frames += codec.decode(None)
        for frame in frames:
            if left and frame.pts == left[0]:
                yield frame
                del left[0]
        if not unsent:
            break
    codec.skip_frame = "DEFAULT"
    if left:
        raise _missing(left[0])


def _missing(time: int) -> MediaError:
    return MediaError("undecodable", f"pyav: the frame at {time} is missing")
