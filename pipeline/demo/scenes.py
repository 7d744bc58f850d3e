"""Draws the demo's pictures: coloured shapes on a plain background, still or moving."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from pipeline.demo.grammar import Event, Thing

Picture = NDArray[np.uint8]  # (height, width, 3) RGB

_PAINT = {
    "red": (225, 45, 45),
    "green": (45, 190, 75),
    "blue": (55, 95, 235),
    "yellow": (240, 215, 50),
    "purple": (165, 65, 200),
    "white": (242, 242, 242),
}
_DOT_TONE = 25
_SUPERSAMPLING = 3
_ANGLE_STEPS = 60  # rotations are drawn in steps of 6 degrees, so that sprites can be kept


@dataclass(frozen=True)
class Canvas:
    """What all pictures of a corpus have in common."""

    size: int = 96
    """Width and height in pixels."""
    frame_rate: int = 8
    """Frames per second."""
    event_s: float = 2.5
    """Seconds that one event takes."""

    @property
    def frames_per_event(self) -> int:
        return round(self.event_s * self.frame_rate)


@dataclass(frozen=True)
class Pose:
    """Where a shape is: centre and radius in shares of the picture's side, angle in turns."""

    x: float
    y: float
    radius: float
    turns: float = 0.0


def video_frames(events: Sequence[Event], canvas: Canvas, rng: np.random.Generator) -> Iterator[Picture]:
    """The events one after another, each with its own place, size and extent of motion."""
    background = plain_background(canvas.size, rng)
    for event in events:
        start, end = motion_path(event.motion, rng)
        for index in range(canvas.frames_per_event):
            frame = background.copy()
            draw(frame, event.thing, _between(start, end, index / (canvas.frames_per_event - 1)))
            yield frame


def still(things: Sequence[Thing], canvas: Canvas, rng: np.random.Generator) -> Picture:
    """One to three things side by side, in random order from left to right."""
    picture = plain_background(canvas.size, rng)
    slots = rng.permutation(len(things))
    reach = min(0.5 / len(things), 0.3)  # half of a slot
    for thing, slot in zip(things, slots, strict=True):
        radius = reach * rng.uniform(0.65, 0.95)
        x = (slot + 0.5) / len(things) + rng.uniform(-1, 1) * (reach - radius)
        y = rng.uniform(radius + 0.04, 0.96 - radius)
        draw(picture, thing, Pose(x, y, radius, rng.uniform(0, 1)))
    return picture


def motion_path(motion: str, rng: np.random.Generator) -> tuple[Pose, Pose]:
    """First and last pose of a motion; every pose between them lies inside the picture."""
    radius = rng.uniform(0.18, 0.23)
    x, y = rng.uniform(0.35, 0.65, size=2)
    near, far = rng.uniform(0.25, 0.3), rng.uniform(0.7, 0.75)
    tilt = rng.uniform(-0.03, 0.03)
    match motion:
        case "up":
            return Pose(x, far, radius, tilt), Pose(x, near, radius, tilt)
        case "down":
            return Pose(x, near, radius, tilt), Pose(x, far, radius, tilt)
        case "left":
            return Pose(far, y, radius, tilt), Pose(near, y, radius, tilt)
        case "right":
            return Pose(near, y, radius, tilt), Pose(far, y, radius, tilt)
        case "spin":
            return Pose(x, y, radius, tilt), Pose(x, y, radius, tilt + rng.uniform(1.0, 1.5))
        case "grow":
            return Pose(x, y, rng.uniform(0.1, 0.13), tilt), Pose(x, y, rng.uniform(0.29, 0.33), tilt)
    raise ValueError(f"motion: {motion!r} is not drawn")


def draw(picture: Picture, thing: Thing, pose: Pose) -> None:
    """Paint a shape over the picture, in place. Its dark dot shows that a circle turns."""
    size = len(picture)
    angle = round(pose.turns * _ANGLE_STEPS) % _ANGLE_STEPS
    cover, paint = _sprite(thing, max(round(pose.radius * size), 2), angle)
    side = len(cover)
    top, left = round(pose.y * size) - side // 2, round(pose.x * size) - side // 2
    inside = picture[max(top, 0) : top + side, max(left, 0) : left + side]
    rows = slice(max(-top, 0), max(-top, 0) + inside.shape[0])
    columns = slice(max(-left, 0), max(-left, 0) + inside.shape[1])
    inside[...] = inside * (1 - cover[rows, columns]) + paint[rows, columns]


def plain_background(size: int, rng: np.random.Generator) -> Picture:
    """A dim gradient of two nearly grey tones, darker than every shape."""
    tones = rng.uniform(20, 85) + rng.uniform(-12, 12, size=(2, 3))
    across = np.linspace(0, 1, size)[:, None, None]
    gradient = np.broadcast_to(tones[0] * (1 - across) + tones[1] * across, (size, size, 3))
    return np.ascontiguousarray(gradient.transpose(1, 0, 2) if rng.random() < 0.5 else gradient).astype(
        np.uint8
    )


def _between(start: Pose, end: Pose, share: float) -> Pose:
    def mix(a: float, b: float) -> float:
        return a + (b - a) * share

    return Pose(
        mix(start.x, end.x), mix(start.y, end.y), mix(start.radius, end.radius), mix(start.turns, end.turns)
    )


@cache
def _sprite(thing: Thing, radius: int, angle: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Coverage (side, side, 1) in [0, 1], and the paint already weighted with it (side, side, 3)."""
    cover, dot = _stencil(thing.shape, radius, angle)
    return cover, (cover - dot) * np.array(_PAINT[thing.colour], np.float32) + dot * _DOT_TONE


@cache
def _stencil(shape: str, radius: int, angle: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Coverage (side, side, 1) of a shape and of its dot, drawn three times as fine and averaged."""
    side = 2 * radius + 3
    fine = side * _SUPERSAMPLING
    axis = ((np.arange(fine) + 0.5) / _SUPERSAMPLING - side / 2) / radius
    turn = 2 * np.pi * angle / _ANGLE_STEPS
    x = axis[None, :] * np.cos(turn) + axis[:, None] * np.sin(turn)
    y = axis[:, None] * np.cos(turn) - axis[None, :] * np.sin(turn)
    inside = _covers(shape, x, y)
    return _coarser(inside), _coarser(inside & (x**2 + (y + 0.42) ** 2 < 0.14**2))


def _covers(shape: str, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether points (in radii from the centre, y downwards) belong to a shape."""
    match shape:
        case "circle":
            return x**2 + y**2 < 0.92**2
        case "square":
            return np.maximum(np.abs(x), np.abs(y)) < 0.76
        case "triangle":
            return (y < 0.62) & (np.abs(x) < (y + 0.98) * 0.6)
        case "cross":
            return (np.minimum(np.abs(x), np.abs(y)) < 0.28) & (np.maximum(np.abs(x), np.abs(y)) < 0.95)
    raise ValueError(f"shape: {shape!r} is not drawn")


def _coarser(fine: NDArray[np.bool_]) -> NDArray[np.float32]:
    side = len(fine) // _SUPERSAMPLING
    blocks = fine.reshape(side, _SUPERSAMPLING, side, _SUPERSAMPLING, 1)
    return np.asarray(blocks.mean((1, 3)), np.float32)
