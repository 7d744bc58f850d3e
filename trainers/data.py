"""Rows of clips -> batches: what is read of a clip, and the stage of the data workers that prepares it: frames
drawn, decoded and cut, a text drawn, patches kept.

Every draw is decided by (seed, uid, epoch), so it depends neither on the worker that makes it nor on the batch.
Nothing here needs torch: it would cost each data worker seconds and memory.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ingest.stores.pictures import decoded
from trainers.frame_choice import FrameChoice, source
from trainers.masks import draw_keep
from trainers.models.tokenizers import ClipTokenizer
from trainers.pixels import Offsets, centre, cut, room
from trainers.recipe import Model, Pixels, Stream

COLUMNS = ("uid", "media_uid", "kind", "captions", "transcripts", "frames")
"""Columns of a clip that training reads, beside position, epoch and valid."""
UID_BYTES = 10
"""Of `ingest.records.stable_uid`, whose hex digits Ray could not hand to torch."""

Frames = NDArray[np.uint8]


@dataclass(frozen=True)
class Prepare:
    """A block of clip rows -> the columns of `Batch` as arrays. An unreadable row gets valid=False."""

    stream: Stream
    model: Model
    pixels: Pixels
    seed: int
    training: bool = True
    """False: the middle frame of each slice, the central crop, all patches, the first caption."""

    @property
    def choice(self) -> FrameChoice:
        """Which frames it takes; a stream that asks it delivers no others."""
        return FrameChoice(self.stream.frames, self.seed, self.training)

    def __call__(self, rows: pa.Table) -> dict[str, NDArray[Any]]:
        """`rows`: COLUMNS, position and epoch (int64), valid (bool). ValueError for texts that do not fit."""
        names = [name for name in (*COLUMNS, "epoch", "valid") if name not in ("frames", self._other_text)]
        side = self.pixels.crop
        frames = np.empty((rows.num_rows, self.stream.frames, side, side, 3), np.uint8)
        read = zip(rows.select(names).to_pylist(), _images(rows), frames, strict=True)
        clips = [self._clip(row, images, place) for row, images, place in read]
        tokens = ClipTokenizer(self.model.text.context)([text for clip in clips for text in clip.texts])
        return {
            "frames": frames,
            "tokens": tokens.reshape(len(clips), -1, tokens.shape[-1]),
            "keep": np.stack([clip.keep for clip in clips]),
            "valid": np.array([clip.valid for clip in clips]),
            "position": rows["position"].to_numpy(),
            "uids": np.frombuffer(b"".join(clip.uids for clip in clips), np.uint8).reshape(len(clips), 2, -1),
        }

    @property
    def _other_text(self) -> str:
        return "captions" if self.stream.text == "transcripts" else "transcripts"

    def _clip(self, row: Mapping[str, Any], images: Sequence[NDArray[np.uint8]], place: Frames) -> "_Clip":
        """All of a clip but its frames, which go to their place in the batch."""
        draws = _Draws(self.seed, row["uid"] or "", row["epoch"]) if self.training else None
        self._check_kind(row)
        readable = row["valid"] and (self.stream.text == "transcripts" or row["captions"])
        valid = bool(readable and self._frames(row, images, draws, place))
        video = self.model.video
        patches = (video.image_size // video.patch_size) ** 2
        keep = draws.keep(patches, self.stream.mask_ratio) if draws else np.arange(patches)
        if not valid:
            place[:] = 0
            return _Clip(bytes(2 * UID_BYTES), [""] * self._num_texts, keep, valid)
        return _Clip(bytes.fromhex(row["uid"] + row["media_uid"]), self._texts(row, draws), keep, valid)

    def _check_kind(self, row: Mapping[str, Any]) -> None:
        """ValueError for a still image among videos: it would be trained on as a film in which nothing moves."""
        stream = self.stream
        if self.training and row["kind"] == "image" and stream.frames > 1:
            raise ValueError(
                f"stream {stream.name!r}: clip {row['uid']} is a still image, but the stream takes {stream.frames} "
                "frames of a video; set its frames to 1, or train on a stream without images"
            )

    def _frames(
        self,
        row: Mapping[str, Any],
        images: Sequence[NDArray[np.uint8]],
        draws: "_Draws | None",
        place: Frames,
    ) -> bool:
        """Chosen (if the stream did not), decoded, resized and cut; False where one cannot be decoded."""
        chosen = self.choice(row["uid"], row["epoch"], len(images))
        for number, window in zip(chosen, place, strict=False):
            frame = decoded(images[number])
            if frame is None:
                return False
            window[:] = self._window(frame, draws)
        return len(chosen) == len(place)

    def _window(self, frame: Frames, draws: "_Draws | None") -> Frames:
        height, width = frame.shape[:2]
        space = room(height, width, self.pixels)
        return cut(frame, draws.corner(space) if draws else centre(space), self.pixels)

    @property
    def _num_texts(self) -> int:
        return self.model.sorting.transcripts if self.stream.text == "transcripts" else 1

    def _texts(self, row: Mapping[str, Any], draws: "_Draws | None") -> list[str]:
        if self.stream.text == "captions":
            captions = row["captions"]
            return [captions[draws.caption(len(captions)) if draws else 0]]
        texts = [utterance["text"] for utterance in row["transcripts"] or ()]
        if len(texts) != self._num_texts:
            raise ValueError(
                f"stream {self.stream.name!r}: clip {row['uid']} has {len(texts)} transcripts, but the "
                f"recipe's model.sorting.transcripts is {self._num_texts}"
            )
        return texts


def _images(rows: pa.Table) -> list[list[NDArray[np.uint8]]]:
    """The stored frames of each row, where they lie."""
    frames = rows["frames"].combine_chunks()
    values = frames.values
    return [
        [np.frombuffer(values[number].as_buffer(), np.uint8) for number in range(low, high)]
        for low, high in pairwise(frames.offsets.to_pylist())
    ]


@dataclass(frozen=True)
class _Clip:
    uids: bytes
    texts: list[str]
    keep: NDArray[np.int64]
    valid: bool


class _Draws:
    """The random choices for one clip in one epoch, but for its frames."""

    def __init__(self, seed: int, uid: str, epoch: int) -> None:
        self._crop, self._caption, self._keep = (source(seed, uid, epoch, kind) for kind in (1, 2, 3))
        self._corner: Offsets | None = None

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
        return draw_keep(num_patches, mask_ratio, self._keep)
