"""Five files that claim to be videos and are not fit to be used, each broken in another way."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from pipeline.demo.films import narrate, write_mp4
from pipeline.demo.grammar import ALL_EVENTS
from pipeline.demo.scenes import Canvas, video_frames
from pipeline.demo.voice import NARRATORS

_EVENTS = ALL_EVENTS[::37]  # four unlike events
_CANVAS = Canvas()
CLAIMED_EVENTS = 24  # of the file that overstates its length: a minute


def truncated(path: Path) -> None:
    """A download that broke off: the index, which mp4 keeps at the end, is missing."""
    write_mp4(path, video_frames(_EVENTS, _CANVAS, _rng()), _CANVAS)
    _cut(path, path.stat().st_size * 3 // 5)


def zero_bytes(path: Path) -> None:
    """A file of no bytes."""
    path.write_bytes(b"")


def sound_only(path: Path) -> None:
    """An mp4 with narration and no video track."""
    write_mp4(path, [], _CANVAS, narrate(_EVENTS, _CANVAS, NARRATORS[0], _rng()).samples)


def not_a_video(path: Path) -> None:
    """A web page saved under the name of a video."""
    path.write_bytes(b"<!DOCTYPE html><html><body><h1>404: video not found</h1></body></html>\n" * 20)


def overstated_length(path: Path) -> None:
    """Its index comes first and promises a minute, 480 frames. Of their data only a tenth is there."""
    events = (_EVENTS * CLAIMED_EVENTS)[:CLAIMED_EVENTS]
    write_mp4(path, video_frames(events, _CANVAS, _rng()), _CANVAS, None, {"movflags": "faststart"})
    media = path.read_bytes().index(b"mdat")
    _cut(path, media + (path.stat().st_size - media) // 10)


BREAKAGES: dict[str, Callable[[Path], None]] = {
    "truncated": truncated,
    "zero_bytes": zero_bytes,
    "sound_only": sound_only,
    "not_a_video": not_a_video,
    "overstated_length": overstated_length,
}


def _cut(path: Path, num_bytes: int) -> None:
    path.write_bytes(path.read_bytes()[:num_bytes])


def _rng() -> np.random.Generator:
    return np.random.default_rng(0)
