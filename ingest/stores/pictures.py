"""Stored frames: JPEG, or binary PPM (a short header and the RGB bytes), which any image library reads."""

import re

import numpy as np
import simplejpeg
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
"""RGB [h, w, 3]."""
Bytes = bytes | NDArray[np.uint8]

MAX_SIDE = 8192  # a frame that claims to be larger is not decoded
_HEADER_BYTES = 24
_PPM = re.compile(rb"P6\n(\d{1,5}) (\d{1,5})\n255\n")


def to_ppm(picture: Picture) -> bytes:
    """A frame as it is."""
    height, width = picture.shape[:2]
    return b"P6\n%d %d\n255\n" % (width, height) + picture.tobytes()


def is_ppm(data: Bytes) -> bool:
    """Whether these bytes begin as `to_ppm` writes them."""
    return bytes(data[:3]) == b"P6\n"


def decoded(data: Bytes) -> Picture | None:
    """A stored frame; None for bytes that are none, are damaged or claim an absurd size. Of PPM a view, not a copy."""
    if is_ppm(data):
        return _of_ppm(data)
    try:
        height, width, *_ = simplejpeg.decode_jpeg_header(data)
        if not 0 < max(height, width) <= MAX_SIDE:
            return None
        picture: Picture = simplejpeg.decode_jpeg(data, colorspace="RGB")
        return picture
    except (ValueError, RuntimeError):  # what simplejpeg raises for hostile bytes
        return None


def _of_ppm(data: Bytes) -> Picture | None:
    header = _PPM.match(bytes(data[:_HEADER_BYTES]))
    if header is None:
        return None
    width, height = int(header[1]), int(header[2])
    if not 0 < max(height, width) <= MAX_SIDE or len(data) != header.end() + 3 * height * width:
        return None
    return np.frombuffer(data, np.uint8, offset=header.end()).reshape(height, width, 3)
