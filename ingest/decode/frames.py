"""Frames of a window as JPEG, or of a film as they are: the sampling, the choice of decoder, the resizing.

Runs in the decoding process.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ingest.decode import decord_reader, pyav_reader
from ingest.decode.containers import Film
from ingest.decode.failure import MediaError
from ingest.decode.images import encode
from ingest.decode.request import DecoderName, FrameRequest
from ingest.decode.resize import resize_short_side
from ingest.decode.sampling import middle_indices

Frame = NDArray[np.uint8]
Kept = TypeVar("Kept")


def window_frames(film: Film, request: FrameRequest) -> tuple[list[float], list[bytes]]:
    """Times in seconds and JPEGs of the middle frames of `count` even slices of the window.

    A window with fewer frames gives all it has. Raises MediaError: undecodable, unsupported, truncated.
    """
    index = film.index
    if request.start_s >= index.duration_s:
        raise MediaError("truncated", f"no frame after {request.start_s:.2f} s")
    first, stop = index.between(request.start_s, request.end_s)
    wanted = [first + int(number) for number in middle_indices(request.count, stop - first)]

    def stored(frame: Frame) -> bytes:
        return encode(resize_short_side(frame, request.short_side, request.resize), request.quality)

    return [float(index.times_s[number]) for number in wanted], _decode(film, wanted, request.decoder, stored)


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
        reader = decord_reader if decoder == "decord" else pyav_reader
        return [keep(frame) for frame in reader.read_frames(film, wanted)]
    except MediaError as error:
        if decoder != "auto":
            raise
        try:  # its older FFmpeg forgives what a newer one refuses
            return [keep(frame) for frame in decord_reader.read_frames(film, wanted)]
        except MediaError:
            raise error from None
