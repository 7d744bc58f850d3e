"""Rows of clips -> batches: what is read of a clip, and the stage of the data workers that prepares it: frames
decoded and cut, and beside them whatever the system reads.

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
from trainers.data.frame_choice import FrameChoice
from trainers.data.pixels import Offsets, centre, cut, room
from trainers.draws import Draws
from trainers.recipe import Pixels, Stream
from trainers.system_settings import RowReader, SystemSettings

COLUMNS = ("uid", "media_uid", "kind")
"""Columns of a clip that are always read, beside frames, position, epoch, valid and those of the system."""
UID_BYTES = 10
"""Of `ingest.records.stable_uid`, whose hex digits Ray could not hand to torch."""
CROP = 1
"""Kind of draw."""

Frames = NDArray[np.uint8]


@dataclass(frozen=True)
class Prepare:
    """A block of clip rows -> the columns of `Batch` as arrays. An unreadable row gets valid=False."""

    stream: Stream
    system: SystemSettings
    pixels: Pixels
    seed: int
    training: bool = True
    """False: the middle frame of each slice, the central crop, and nothing that the system would draw."""

    @property
    def choice(self) -> FrameChoice:
        """Which candidate frames of a clip must be delivered to it; whoever reads the clips asks it."""
        return FrameChoice(self.stream.frames, self.seed, self.training)

    def __call__(self, rows: pa.Table) -> dict[str, NDArray[Any]]:
        """`rows`: COLUMNS, the frames that `choice` takes, what the system reads, position and epoch (int64), valid
        (bool). ValueError for rows that the recipe does not fit."""
        reader = self.stream.reads.reader(self.system)
        side = self.pixels.crop
        frames = np.empty((rows.num_rows, self.stream.frames, side, side, 3), np.uint8)
        names = dict.fromkeys((*COLUMNS, *reader.columns, "epoch", "valid"))
        read = zip(rows.select(list(names)).to_pylist(), _images(rows), frames, strict=True)
        clips = [self._clip(reader, row, images, place) for row, images, place in read]
        return {
            "frames": frames,
            **reader.stack([clip.inputs for clip in clips]),
            "valid": np.array([clip.valid for clip in clips]),
            "position": rows["position"].to_numpy(),
            "uids": np.frombuffer(b"".join(clip.uids for clip in clips), np.uint8).reshape(len(clips), 2, -1),
        }

    def _clip(
        self, reader: RowReader, row: Mapping[str, Any], images: Sequence[NDArray[np.uint8]], place: Frames
    ) -> "_Clip":
        """All of a clip but its frames, which go to their place in the batch."""
        draws = Draws(self.seed, row["uid"] or "", row["epoch"]) if self.training else None
        self._check_kind(row)
        inputs = None
        if row["valid"] and self._frames(images, draws, place):
            inputs = self._inputs(reader, row, draws)
        if inputs is None:
            place[:] = 0
            return _Clip(bytes(2 * UID_BYTES), reader.unreadable(draws), False)
        return _Clip(bytes.fromhex(row["uid"] + row["media_uid"]), inputs, True)

    def _inputs(self, reader: RowReader, row: Mapping[str, Any], draws: Draws | None) -> Any:
        try:
            return reader.read(row, draws)
        except ValueError as error:
            raise ValueError(f"stream {self.stream.name!r}: {error}") from error

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
        images: Sequence[NDArray[np.uint8]],
        draws: Draws | None,
        place: Frames,
    ) -> bool:
        """Decoded, resized and cut; False where there are none, or one cannot be decoded."""
        if not images:
            return False
        assert len(images) == len(place), "the stream was asked for `choice`"
        drawn = draws.source(CROP) if draws else None
        corner: Offsets | None = None
        for image, crop in zip(images, place, strict=True):
            frame = decoded(image)
            if frame is None:
                return False
            space = room(frame.shape[0], frame.shape[1], self.pixels)
            if drawn is None:
                corner = centre(space)
            elif corner is None:  # one position per clip, both ends included
                top, left = drawn.integers(0, (space[0] + 1, space[1] + 1))
                corner = int(top), int(left)
            crop[:] = cut(frame, corner, self.pixels)
        return True


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
    inputs: Any
    valid: bool
