"""Still images at the stored size."""

import io
import warnings
from pathlib import Path

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from ingest.decode.request import MAX_PIXELS, Encoding, MediaError, Resize
from ingest.stores.pictures import to_ppm


def target_size(height: int, width: int, short_side: int) -> tuple[int, int]:
    """Height and width after the short side becomes `short_side`; the long side is cut to an integer."""
    if width < height:
        return int(short_side * height / width), short_side
    return short_side, int(short_side * width / height)


_FILTERS = {"nearest": Image.Resampling.NEAREST, "bicubic": Image.Resampling.BICUBIC}


def resize_short_side(
    frame: NDArray[np.uint8], short_side: int, resize: Resize = "nearest"
) -> NDArray[np.uint8]:
    """An RGB frame [h, w, 3] with this short side; untouched where it has it already."""
    height, width = frame.shape[:2]
    if min(height, width) == short_side:
        return frame
    new_height, new_width = target_size(height, width, short_side)
    resized = Image.fromarray(frame).resize((new_width, new_height), _FILTERS[resize])
    return np.asarray(resized)


_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")


def is_jpeg(data: bytes) -> bool:
    """Whether these bytes begin as a JPEG does."""
    return data[:3] == b"\xff\xd8\xff"


def encode(frame: NDArray[np.uint8], quality: int, encoding: Encoding = "jpeg") -> bytes:
    """An RGB frame [h, w, 3] as JPEG, colours at half resolution, or as PPM."""
    if encoding == "ppm":
        return to_ppm(frame)
    return bytes(simplejpeg.encode_jpeg(frame, quality=quality, colorspace="RGB", colorsubsampling="420"))


def stored(
    data: bytes, short_side: int, quality: int, resize: Resize = "nearest", encoding: Encoding = "jpeg"
) -> bytes | None:
    """A JPEG at its stored size: the bytes themselves where they fit; None for kinds libjpeg does not turn to RGB.

    The header is read first, so a picture beyond the limit is never decoded. Raises MediaError: too_large, truncated.
    """
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(data, strict=True)
    except ValueError as error:
        raise MediaError("truncated", f"jpeg: {error}") from error
    if height * width > MAX_PIXELS:
        raise MediaError("too_large", f"{width}x{height}")
    if colours not in ("YCbCr", "Gray", "RGB"):
        return None
    try:
        frame = simplejpeg.decode_jpeg(data, colorspace="RGB", strict=True)
    except ValueError as error:
        raise MediaError("truncated", f"jpeg: {error}") from error
    if encoding == "jpeg" and colours == "YCbCr" and min(height, width) == short_side:
        return data
    return encode(resize_short_side(frame, short_side, resize), quality, encoding)


def converted(
    path: Path, short_side: int, quality: int, resize: Resize = "nearest", encoding: Encoding = "jpeg"
) -> bytes:
    """Any image Pillow reads, at its stored size; to be called in the decoding process. Raises MediaError."""
    Image.MAX_IMAGE_PIXELS = MAX_PIXELS
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            with Image.open(io.BytesIO(path.read_bytes()), formats=_FORMATS) as image:
                frame = np.asarray(image.convert("RGB"))
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            raise MediaError("too_large", str(error)) from error
        except UnidentifiedImageError as error:
            raise MediaError("not_media", "no image format we know") from error
        except (OSError, SyntaxError, ValueError) as error:
            raise MediaError("truncated", f"{type(error).__name__}: {error}") from error
    return encode(resize_short_side(frame, short_side, resize), quality, encoding)
