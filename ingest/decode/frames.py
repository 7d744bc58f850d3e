"""Frames of a window encoded, or of a film as they are: the sampling, the choice of decoder, the resizing.

Runs in the decoding process.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from infra.errors import UserError
from ingest.decode import decord_reader, pyav_reader
from ingest.decode.containers import Film, FrameIndex
from ingest.decode.images import encode, resize_short_side
from ingest.decode.request import DecoderName, FrameRequest, MediaError


def boundaries(num_frames: int, length: int) -> NDArray[np.int64]:
    """Borders of min(num_frames, length) even slices of `length` frames."""
    return np.linspace(0, length, min(num_frames, length) + 1).astype(np.int64)


def middle_indices(num_frames: int, length: int) -> NDArray[np.int64]:
    """The middle frame of each slice, as at test time; fewer than asked where the video has fewer."""
    borders = boundaries(num_frames, length)
    return (borders[:-1] + borders[1:] - 1) // 2


Frame = NDArray[np.uint8]
Kept = TypeVar("Kept")
_TIME_TOLERANCE_S = 1e-4


def window_frames(film: Film, request: FrameRequest) -> tuple[list[float], list[bytes]]:
    """Times in seconds and images of the middle frames of `count` even slices of the window, or of those it names.

    A window with fewer frames gives all it has. Raises MediaError: undecodable, unsupported, truncated.
    """
    index = film.index
    wanted = _shown_at(index, request.times_s) if request.times_s else _candidates(index, request)

    def stored(frame: Frame) -> bytes:
        small = resize_short_side(frame, request.short_side, request.resize)
        return encode(small, request.quality, request.encoding)

    return _times(index, wanted), _decode(film, wanted, request.decoder, stored)


def window_times(film: Film, request: FrameRequest) -> list[float]:
    """The times alone, without decoding. Raises MediaError: truncated."""
    return _times(film.index, _candidates(film.index, request))


def _candidates(index: FrameIndex, request: FrameRequest) -> list[int]:
    if request.start_s >= index.duration_s:
        raise MediaError("truncated", f"no frame after {request.start_s:.2f} s")
    first, stop = index.between(request.start_s, request.end_s)
    return [first + int(number) for number in middle_indices(request.count, stop - first)]


def _shown_at(index: FrameIndex, times_s: Sequence[float]) -> list[int]:
    """Numbers of the frames that begin at these times."""
    numbers = np.searchsorted(index.times_s, np.array(times_s) - _TIME_TOLERANCE_S)
    for number, time_s in zip(numbers, times_s, strict=True):
        if number == len(index.times_s) or index.times_s[number] > time_s + _TIME_TOLERANCE_S:
            raise MediaError(
                "truncated", f"no frame at {time_s:.3f} s: the file is not the one that was ingested"
            )
    return [int(number) for number in numbers]


def _times(index: FrameIndex, numbers: Sequence[int]) -> list[float]:
    return [float(index.times_s[number]) for number in numbers]


def film_frames(film: Film, count: int) -> NDArray[np.uint8]:
    """The middle frames of `count` even slices of the whole film, as RGB [t, h, w, 3] at their own size.

    A film with fewer frames gives all it has. Raises MediaError: undecodable; ValueError where their size changes.
    """
    wanted = [int(number) for number in middle_indices(count, len(film.index.pts))]
    return np.stack(_decode(film, wanted, "auto", np.asarray))


def _decode(
    film: Film, wanted: Sequence[int], decoder: DecoderName, keep: Callable[[Frame], Kept]
) -> list[Kept]:
    """What `keep` makes of each frame as it comes: only that is held."""
    try:
        return [keep(frame) for frame in _reader(decoder)(film, wanted)]
    except MediaError as error:
        if decoder != "auto":
            raise
        try:  # its older FFmpeg forgives what a newer one refuses
            return [keep(frame) for frame in decord_reader.read_frames(film, wanted)]
        except MediaError:
            raise error from None


def _reader(decoder: DecoderName) -> Callable[[Film, Sequence[int]], Iterator[Frame]]:
    """The decoder of that name. PyAV is the cheapest for every codec, key frame distance and number of frames
    measured (`tests/benchmarks/bench_decoders.py`), so it is what "auto" tries first."""
    if decoder == "decord":
        return decord_reader.read_frames
    if decoder == "torchcodec":
        try:
            from ingest.decode import torchcodec_reader  # an extra, and seconds to import
        except (ImportError, OSError, RuntimeError) as error:
            raise UserError(
                f"frames.decoder: torchcodec cannot be loaded ({str(error).splitlines()[0][:200]}); install the extra "
                "`torchcodec` and FFmpeg's libraries on every node, or leave the choice to `auto`"
            ) from error
        return torchcodec_reader.read_frames
    return pyav_reader.read_frames
