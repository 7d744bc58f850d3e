"""Small real files for tests: every frame shows its number as a grey level, so a decoded frame tells which it is."""

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

import av
import numpy as np
import simplejpeg
from numpy.typing import NDArray

from pipeline.demo.voice import speak

STEP = 6  # grey levels between two frames
RATE = 16_000


def write_video(
    path: Path,
    num_frames: int = 40,
    rate: int = 8,
    size: tuple[int, int] = (64, 32),
    codec: str = "libx264",
    sound: NDArray[np.float32] | None = None,
    key_every: int = 10,
) -> Path:
    """A video of `num_frames` grey frames (at most 40 tell themselves apart), with sound where given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        video = container.add_stream(codec, rate=rate, options={"g": str(key_every), "crf": "10"})
        video.width, video.height, video.pix_fmt = *size, "yuv420p"
        audio = container.add_stream("aac", rate=RATE, layout="mono") if sound is not None else None
        for number in range(num_frames):
            grey = np.full((size[1], size[0], 3), 8 + STEP * number, np.uint8)
            container.mux(video.encode(av.VideoFrame.from_ndarray(grey, format="rgb24")))
        container.mux(video.encode(None))
        if audio is not None and sound is not None:
            frame = av.AudioFrame.from_ndarray(sound[None], format="fltp", layout="mono")
            frame.sample_rate = RATE
            container.mux(audio.encode(frame))
            container.mux(audio.encode(None))
    return path


def numbers_of(frames: tuple[bytes, ...] | list[NDArray[np.uint8]]) -> list[int]:
    """Which frames these are, by their grey level."""
    pictures = [simplejpeg.decode_jpeg(f) if isinstance(f, bytes) else f for f in frames]
    return [round((float(picture.mean()) - 8) / STEP) for picture in pictures]


def spoken(*sentences: str, lead_s: float = 1.0, gap_s: float = 1.0) -> NDArray[np.float32]:
    """Sentences said by the demo's voice, with silence before and between."""
    silence = np.zeros(int(gap_s * RATE), np.float32)
    pieces = [np.zeros(int(lead_s * RATE), np.float32)]
    for sentence in sentences:
        pieces += [speak(sentence).samples, silence]
    return np.concatenate(pieces)


def jpeg(side: int = 16, level: int = 100) -> bytes:
    """A grey square."""
    return bytes(simplejpeg.encode_jpeg(np.full((side, side, 3), level, np.uint8), colorsubsampling="420"))


def write_tar(path: Path, members: Mapping[str, bytes]) -> Path:
    """A tar with these members in this order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path
