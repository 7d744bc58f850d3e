"""Media files broken at random: bits flipped, ends cut, headers of others, holes, parts twice. A seed decides all."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import imageio_ffmpeg
import numpy as np

Mutation = Callable[[bytes, bytes, np.random.Generator], bytes]

_ORIGINALS = {
    "h264.mp4": ("-c:v", "libx264", "-g", "12", "-c:a", "aac"),
    "fragmented.mp4": ("-c:v", "libx264", "-g", "12", "-movflags", "frag_keyframe+empty_moov"),
    "hevc.mp4": ("-c:v", "libx265", "-x265-params", "log-level=none"),
    "vp9.webm": ("-c:v", "libvpx-vp9", "-cpu-used", "8"),
    "av1.mp4": ("-c:v", "libsvtav1", "-preset", "12"),
    "mpeg4.avi": ("-c:v", "mpeg4", "-c:a", "mp3"),
    "h264.mkv": ("-c:v", "libx264", "-bf", "3"),
    "h264.ts": ("-c:v", "libx264", "-f", "mpegts"),
}


def originals(folder: Path) -> dict[str, bytes]:
    """Two seconds of a test picture with a tone, in several codecs and containers, by file name."""
    folder.mkdir(parents=True, exist_ok=True)
    source = ["-f", "lavfi", "-i", "testsrc2=s=160x120:r=12:d=2", "-f", "lavfi", "-i", "sine=d=2"]
    found = {}
    for name, options in _ORIGINALS.items():
        command = [
            imageio_ffmpeg.get_ffmpeg_exe(),
            "-v",
            "error",
            "-y",
            *source,
            *options,
            "-pix_fmt",
            "yuv420p",
        ]
        subprocess.run([*command, str(folder / name)], check=True, capture_output=True)
        found[name] = (folder / name).read_bytes()
    return found


def flipped(data: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """One to a thousand bits, anywhere."""
    bits = np.frombuffer(data, np.uint8).copy()
    places = rng.integers(len(bits), size=int(10 ** rng.uniform(0, 3)))
    np.bitwise_xor.at(bits, places, (1 << rng.integers(8, size=len(places))).astype(np.uint8))
    return bits.tobytes()


def flipped_at_the_start(data: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """Bits of the first kilobyte, where headers are."""
    return flipped(data[:1024], other, rng) + data[1024:]


def truncated(data: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """Cut off anywhere."""
    return data[: int(rng.integers(len(data)))]


def spliced(data: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """The beginning of another file, then the rest of this one."""
    cut = int(rng.integers(1, min(len(data), len(other), 4096)))
    return other[:cut] + data[cut:]


def with_a_hole(data: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """Some of it zero, as a lost block of a disk is."""
    start = int(rng.integers(len(data)))
    stop = min(start + int(10 ** rng.uniform(1, 4)), len(data))
    return data[:start] + bytes(stop - start) + data[stop:]


def stuttering(data: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """A part of it twice."""
    start, stop = np.sort(rng.integers(len(data), size=2))
    return data[:stop] + data[start:]


MUTATIONS: tuple[Mutation, ...] = (
    *(flipped, flipped_at_the_start, truncated),
    *(spliced, with_a_hole, stuttering),
)


def mutated(originals: dict[str, bytes], count: int, seed: int) -> list[tuple[str, bytes]]:
    """(original's name, broken bytes) of `count` files."""
    rng = np.random.default_rng(seed)
    names = sorted(originals)
    found = []
    for number in range(count):
        name, other = names[number % len(names)], names[int(rng.integers(len(names)))]
        mutation = MUTATIONS[int(rng.integers(len(MUTATIONS)))]
        found.append((name, mutation(originals[name], originals[other], rng)))
    return found
