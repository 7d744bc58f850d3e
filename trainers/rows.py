"""One clip row to arrays: frames drawn, decoded and cut, a text drawn, patches kept.

Every draw is decided by (seed, uid, epoch), so it depends neither on the worker that makes it nor on the batch.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import simplejpeg
import torch
from numpy.typing import NDArray

from ingest.records import stable_uid
from trainers.batch import draw_keep
from trainers.data import COLUMNS, Prepare
from trainers.models.tokenizers import ClipTokenizer
from trainers.pixels import Offsets, centre, cut, room

_MAX_SIDE = 8192  # a frame that claims to be larger is not decoded

Frames = NDArray[np.uint8]


@dataclass(frozen=True)
class Rows:
    """The work of `Prepare`."""

    settings: Prepare

    def __call__(self, rows: pa.Table) -> dict[str, NDArray[Any]]:
        """See `Prepare`."""
        names = [name for name in (*COLUMNS, "epoch", "valid") if name != self._other_text]
        clips = [self._clip(row) for row in rows.select(names).to_pylist()]
        tokens = ClipTokenizer(self.settings.model.text.context)(
            [text for clip in clips for text in clip.texts]
        )
        return {
            "frames": np.stack([clip.frames for clip in clips]),
            "tokens": tokens.unflatten(0, (len(clips), -1)).numpy(),
            "keep": np.stack([clip.keep for clip in clips]),
            "valid": np.array([clip.valid for clip in clips]),
            "position": rows["position"].to_numpy(),
        }

    @property
    def _other_text(self) -> str:
        return "captions" if self.settings.stream.text == "transcripts" else "transcripts"

    def _clip(self, row: Mapping[str, Any]) -> "_Clip":
        draws = _Draws(self.settings.seed, row["uid"] or "", row["epoch"]) if self.settings.training else None
        readable = row["valid"] and (self.settings.stream.text == "transcripts" or row["captions"])
        frames = self._frames(row["frames"] or (), draws) if readable else None
        video = self.settings.model.video
        patches = (video.image_size // video.patch_size) ** 2
        keep = draws.keep(patches, self.settings.stream.mask_ratio) if draws else np.arange(patches)
        if frames is None:
            blank = np.zeros(
                (self.settings.stream.frames, self.settings.pixels.crop, self.settings.pixels.crop, 3),
                np.uint8,
            )
            return _Clip(blank, [""] * self._num_texts, keep, valid=False)
        return _Clip(frames, self._texts(row, draws), keep, valid=True)

    def _frames(self, stored: Sequence[bytes], draws: "_Draws | None") -> Frames | None:
        """Chosen, decoded, resized and cut; None where one cannot be decoded."""
        slices = slice_bounds(len(stored), self.settings.stream.frames)
        chosen = [draws.within(*bounds) if draws else sum(bounds) // 2 for bounds in slices]
        decoded = [decode(stored[index]) for index in chosen]
        if not decoded or any(frame is None for frame in decoded):
            return None
        return np.stack([self._window(frame, draws) for frame in decoded if frame is not None])

    def _window(self, frame: Frames, draws: "_Draws | None") -> Frames:
        height, width = frame.shape[:2]
        space = room(height, width, self.settings.pixels)
        return cut(frame, draws.corner(space) if draws else centre(space), self.settings.pixels)

    @property
    def _num_texts(self) -> int:
        return self.settings.model.sorting.transcripts if self.settings.stream.text == "transcripts" else 1

    def _texts(self, row: Mapping[str, Any], draws: "_Draws | None") -> list[str]:
        if self.settings.stream.text == "captions":
            captions = row["captions"]
            return [captions[draws.caption(len(captions)) if draws else 0]]
        texts = [utterance["text"] for utterance in row["transcripts"] or ()]
        if len(texts) != self._num_texts:
            raise ValueError(
                f"stream {self.settings.stream.name!r}: clip {row['uid']} has {len(texts)} transcripts, but the "
                f"recipe's model.sorting.transcripts is {self._num_texts}"
            )
        return texts


@dataclass(frozen=True)
class _Clip:
    frames: Frames
    texts: list[str]
    keep: NDArray[np.int64]
    valid: bool


class _Draws:
    """The random choices for one clip in one epoch, each kind from a source of its own (more frames change no
    mask)."""

    def __init__(self, seed: int, uid: str, epoch: int) -> None:
        key = int(stable_uid(seed, uid, epoch), 16)
        self._frames, self._crop, self._caption, self._keep = (
            np.random.default_rng((key, kind)) for kind in range(4)
        )
        self._corner: Offsets | None = None

    def within(self, first: int, last: int) -> int:
        """A frame of a slice, both ends included."""
        return int(self._frames.integers(first, last + 1))

    def corner(self, space: Offsets) -> Offsets:
        """Of the window: one position per clip, both ends included."""
        if self._corner is None:
            drawn = self._crop.integers(0, (space[0] + 1, space[1] + 1))
            self._corner = int(drawn[0]), int(drawn[1])
        return self._corner

    def caption(self, count: int) -> int:
        """One of several captions."""
        return int(self._caption.integers(count))

    def keep(self, num_patches: int, mask_ratio: float) -> NDArray[np.int64]:
        """Patch positions kept in all frames of the clip."""
        generator = torch.Generator().manual_seed(int(self._keep.integers(2**63)))
        return draw_keep(num_patches, mask_ratio, generator).numpy()


def slice_bounds(num_stored: int, num_frames: int) -> list[tuple[int, int]]:
    """First and last candidate of each of `num_frames` equal slices (TVTSv2, 10.1); too few repeat.

    The reference never takes the last frame of a slice; here candidates are few, and all of them take part.
    """
    bounds = np.linspace(0, num_stored, num_frames + 1).astype(int).tolist()
    return [(low, max(low, high - 1)) for low, high in itertools.pairwise(bounds) if low < num_stored]


def decode(encoded: bytes) -> Frames | None:
    """A JPEG as RGB [h, w, 3]; None for bytes that are none, are damaged or claim an absurd size."""
    try:
        height, width, *_ = simplejpeg.decode_jpeg_header(encoded)
        if not 0 < max(height, width) <= _MAX_SIDE:
            return None
        frame: Frames = simplejpeg.decode_jpeg(encoded, colorspace="RGB")
        return frame
    except (ValueError, RuntimeError):  # what simplejpeg raises for hostile bytes
        return None
