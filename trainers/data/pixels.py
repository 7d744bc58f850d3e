"""Stored frames -> the crops of a clip (TVTSv2, 10.2), cut by the data workers: only the bytes that are needed
travel, and clips of different shapes fit into one batch. `trainers.data.inputs` makes floats of them.
"""

from functools import cache

import numpy as np
from jaxtyping import Int64, UInt8

from trainers.recipe import Pixels

Offsets = tuple[int, int]
"""Top and left of a window in the resized frame."""


def room(height: int, width: int, config: Pixels) -> Offsets:
    """How far down and right the window's corner can go. ValueError for frames that the recipe cannot use."""
    if config.resize == "bicubic" and min(height, width) != config.short_side:
        raise ValueError(
            f"pixels.short_side is {config.short_side}, but frames are stored with a short side of "
            f"{min(height, width)}; bicubic pixels are cut from frames as they are stored"
        )
    tall, wide = resized_size(height, width, config.short_side)
    if min(tall, wide) < config.crop:
        raise ValueError(f"pixels.crop is {config.crop}, but the resized frames are {tall} x {wide}")
    return tall - config.crop, wide - config.crop


def cut(
    frame: UInt8[np.ndarray, "h w 3"], corner: Offsets, config: Pixels
) -> UInt8[np.ndarray, "crop crop 3"]:
    """The window at `corner` of the frame resized to the short side (nearest neighbour), in one gather.

    Of a frame that has its side already it is a view.
    """
    height, width = frame.shape[:2]
    tall, wide = resized_size(height, width, config.short_side)
    (top, left), span = corner, config.crop
    if (tall, wide) == (height, width):
        return frame[top : top + span, left : left + span]
    rows = nearest_sources(height, tall)[top : top + span]
    columns = nearest_sources(width, wide)[left : left + span]
    window: UInt8[np.ndarray, "crop crop 3"] = frame[rows][:, columns]
    return window


def check_sides(side: int, config: Pixels) -> None:
    """ValueError unless windows can become what a tower with frames of `side` pixels reads."""
    if config.crop != side and config.resize != "bicubic":
        raise ValueError(
            f"pixels.crop is {config.crop}, but the system's frames have {side} pixels: make them equal, or set "
            "pixels.resize to bicubic"
        )
    if config.crop > config.short_side:
        raise ValueError(f"pixels.crop is {config.crop}, more than pixels.short_side, {config.short_side}")


def resized_size(height: int, width: int, short_side: int) -> Offsets:
    """Height and width after the shorter side became `short_side`; equal sides count as landscape."""
    if min(height, width) == short_side:
        return height, width
    if height <= width:
        return short_side, int(short_side * width / height)
    return int(short_side * height / width), short_side


def centre(space: Offsets) -> Offsets:
    """Corner of the central window, given the room for it; halves rounded to even."""
    return round(space[0] / 2), round(space[1] / 2)


@cache
def nearest_sources(size: int, resized: int) -> Int64[np.ndarray, " resized"]:
    """Pillow's nearest neighbour: source index of each output index, the position accumulated step by step.

    The direct (i + 0.5) * ratio differs at exact ties.
    """
    if size == resized:
        return np.arange(size)
    ratio = size / resized
    positions = np.cumsum(np.r_[ratio / 2, np.full(resized - 1, ratio)])
    return np.minimum(positions.astype(np.int64), size - 1)
