"""Films that cost a decoder what web video costs it: texture, a moving camera, moving things, cuts and grain."""

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import imageio_ffmpeg
import numpy as np
from numpy.typing import NDArray

_CUT_EVERY_S = 4.0
_GRAIN = 3


@dataclass(frozen=True)
class Film:
    """An H.264 film to generate."""

    width: int
    height: int
    seconds: float
    gop: int
    """Frames from one key frame to the next at most."""
    b_frames: int
    rate: int = 25

    @property
    def name(self) -> str:
        """File name without suffix."""
        return f"{self.width}x{self.height}_{self.seconds:g}s_gop{self.gop}_b{self.b_frames}"


WEB_FILMS = (
    Film(596, 336, 12, 250, 3),
    Film(480, 270, 60, 250, 3),
    Film(640, 360, 10, 12, 0),
    Film(640, 360, 20, 250, 0),
    Film(854, 480, 20, 48, 2),
    Film(1280, 720, 10, 60, 3),
    Film(1280, 720, 30, 250, 3),
    Film(1920, 1080, 5, 30, 3),
    Film(1920, 1080, 60, 250, 3),
)


def generate(film: Film, folder: Path) -> Path:
    """The film in this folder, made if it is not there; the same bytes content for the same settings."""
    path = folder / f"{film.name}.mp4"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".part.mp4")
        _encode(film, partial)
        partial.rename(path)
    return path


def _encode(film: Film, path: Path) -> None:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", "rgb24"]
    command += ["-s", f"{film.width}x{film.height}", "-r", str(film.rate), "-i", "-", "-c:v", "libx264"]
    command += ["-preset", "medium", "-crf", "23", "-pix_fmt", "yuv420p", "-threads", "1"]
    command += ["-g", str(film.gop), "-bf", str(film.b_frames), str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        for frame in _frames(film):
            process.stdin.write(frame.tobytes())
        process.stdin.close()
        if process.wait():
            raise RuntimeError(f"ffmpeg could not write {path}")


def _frames(film: Film) -> Iterator[NDArray[np.uint8]]:
    rng = np.random.default_rng([film.width, film.gop])
    grain = rng.integers(-_GRAIN, _GRAIN + 1, (4, film.height, film.width, 1), np.int8)
    per_shot = round(_CUT_EVERY_S * film.rate)
    for number in range(round(film.seconds * film.rate)):
        if number % per_shot == 0:
            shot = _Shot(film, rng)
        frame = shot.at(number % per_shot).astype(np.int16) + grain[rng.integers(4)]
        yield np.clip(frame, 0, 255).astype(np.uint8)


class _Shot:
    """A picture larger than the frame, over which the camera pans, and things that cross it."""

    def __init__(self, film: Film, rng: np.random.Generator) -> None:
        self._size = film.height, film.width
        margin = film.height // 3
        self._scene = _texture((film.height + margin, film.width + margin), rng)
        self._pan = rng.uniform(0.1, 0.9, 2) * margin / (_CUT_EVERY_S * film.rate)
        side = film.height // 4
        self._things = [_texture((side, side), rng) for _ in range(3)]
        self._starts = rng.uniform(0, 1, (3, 2)) * (film.height - side)
        self._speeds = rng.uniform(-1, 1, (3, 2)) * film.height / 100

    def at(self, number: int) -> NDArray[np.uint8]:
        """Frame of this number."""
        top, left = (self._pan * number).astype(int)
        height, width = self._size
        frame = self._scene[top : top + height, left : left + width].copy()
        for thing, start, speed in zip(self._things, self._starts, self._speeds, strict=True):
            y, x = np.clip(start + speed * number, 0, height - len(thing)).astype(int)
            frame[y : y + len(thing), x : x + len(thing)] = thing
        return frame


def _texture(size: tuple[int, int], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Noise at several scales, as leaves and walls are."""
    total = np.zeros((*size, 3), np.float32)
    for scale in (64, 32, 16, 8, 4):
        coarse = rng.normal(size=(size[0] // scale + 2, size[1] // scale + 2, 3)).astype(np.float32)
        grown = coarse.repeat(scale, 0).repeat(scale, 1)[: size[0], : size[1]]
        total += grown * scale**0.5
    return np.clip(128 + total * 7, 0, 255).astype(np.uint8)
