"""Stored frames -> the video tower's input, on the training device (TVTSv2, 10.2)."""

from functools import cache

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from trainers.recipe import Pixels


def pixels(
    frames: UInt8[Tensor, "b t h w 3"], crop: Int64[Tensor, "b 2"], config: Pixels
) -> Float[Tensor, "b t 3 side side"]:
    """Resize to the short side (nearest neighbour), cut each clip's window, scale to [0, 1], normalise.

    `crop`: top and left offset of the window in the resized frame.
    """
    window = _windows(frames, crop, config).permute(0, 1, 4, 2, 3)
    scale = torch.tensor(config.std, device=frames.device)[:, None, None]
    shift = torch.tensor(config.mean, device=frames.device)[:, None, None]
    floats = window.to(torch.float32, memory_format=torch.contiguous_format)
    return floats.div_(255).sub_(shift).div_(scale)


def resized_size(height: int, width: int, short_side: int) -> tuple[int, int]:
    """Height and width after the shorter side became `short_side`; equal sides count as landscape."""
    if height <= width:
        return short_side, int(short_side * width / height)
    return int(short_side * height / width), short_side


def centre_crop(height: int, width: int, side: int) -> tuple[int, int]:
    """Top and left offset of the central window, halves rounded to even."""
    return round((height - side) / 2), round((width - side) / 2)


@cache
def nearest_sources(size: int, resized: int) -> tuple[int, ...]:
    """Pillow's nearest neighbour: source index of each output index, the position accumulated step by step.

    The direct (i + 0.5) * ratio differs at exact ties.
    """
    ratio = size / resized
    position, sources = ratio / 2, []
    for _ in range(resized):
        sources.append(min(int(position), size - 1))
        position += ratio
    return tuple(sources)


def _windows(
    frames: UInt8[Tensor, "b t h w 3"], crop: Int64[Tensor, "b 2"], config: Pixels
) -> UInt8[Tensor, "b t side side 3"]:
    height, width = frames.shape[2:4]
    tall, wide = (
        (height, width)
        if config.short_side == min(height, width)
        else resized_size(height, width, config.short_side)
    )
    if min(tall, wide) < config.crop:
        raise ValueError(f"crop is {config.crop}, but the resized frames are {tall} x {wide}")
    if (height, width) == (tall, wide) == (config.crop, config.crop):
        return frames
    span = torch.arange(config.crop, device=frames.device)
    rows = _lookup(height, tall, frames.device)[crop[:, :1] + span]  # (b, side)
    columns = _lookup(width, wide, frames.device)[crop[:, 1:] + span]
    clip = torch.arange(len(frames), device=frames.device)[:, None, None]
    return (
        frames.transpose(1, 2)
        .transpose(2, 3)[clip, rows[:, :, None], columns[:, None, :]]
        .permute(0, 3, 1, 2, 4)
    )


def _lookup(size: int, resized: int, device: torch.device) -> Int64[Tensor, " resized"]:
    if size == resized:
        return torch.arange(size, device=device)
    return torch.tensor(nearest_sources(size, resized), device=device)
