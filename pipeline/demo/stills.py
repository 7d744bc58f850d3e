"""The demo's captioned stills, in tars as img2dataset writes them: jpg, txt and json of one key."""

import hashlib
import io
import json
import tarfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import simplejpeg

from pipeline.demo.grammar import ALL_THINGS, REGISTERS, still_caption
from pipeline.demo.scenes import Canvas, still

STILLS_PER_SHARD = 1000
_JPEG_QUALITY = 92


@dataclass(frozen=True)
class StillShard:
    """One tar: its number, how many stills it holds, and the seed of the corpus."""

    number: int
    count: int
    seed: int

    @property
    def name(self) -> str:
        return f"{self.number:05d}.tar"


def write_still_shard(folder: Path, shard: StillShard, canvas: Canvas) -> None:
    """Stills of one to three things; their captions take the registers in turn."""
    rng = np.random.default_rng([shard.seed, 3, shard.number])
    with tarfile.open(folder / shard.name, "w") as tar:
        for index in range(shard.count):
            key = f"{shard.number:05d}{index:04d}"
            caption, jpeg = _captioned_still(REGISTERS[index % len(REGISTERS)], canvas, rng)
            _add(tar, f"{key}.jpg", jpeg)
            _add(tar, f"{key}.json", json.dumps(_row(key, caption, jpeg, canvas)).encode())
            _add(tar, f"{key}.txt", caption.encode())


def _captioned_still(register: str, canvas: Canvas, rng: np.random.Generator) -> tuple[str, bytes]:
    num_things = int(rng.integers(1, 4))
    things = [ALL_THINGS[i] for i in rng.choice(len(ALL_THINGS), num_things, replace=False)]
    picture = still(things, canvas, rng)
    return still_caption(things, register), simplejpeg.encode_jpeg(picture, quality=_JPEG_QUALITY)


def _row(key: str, caption: str, jpeg: bytes, canvas: Canvas) -> dict[str, object]:
    """The fields of img2dataset's json file."""
    return {
        "caption": caption,
        "url": f"https://stills.example/{key}.jpg",
        "key": key,
        "status": "success",
        "error_message": None,
        "width": canvas.size,
        "height": canvas.size,
        "original_width": canvas.size,
        "original_height": canvas.size,
        "exif": "{}",
        "sha256": hashlib.sha256(jpeg).hexdigest(),
    }


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)  # its time is 0: the same corpus has the same bytes
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))
