"""Resizing to a short side by Pillow: nearest neighbour (TVTSv2, section 10.2), or bicubic, antialiased."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ingest.decode.request import Resize


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
