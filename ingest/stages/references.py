"""Clips that are references get the frames that an epoch takes, decoded on the way."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from ingest import settings
from ingest.decode.isolation import decoder
from ingest.decode.request import MediaError
from ingest.order.choice import Choice
from ingest.records import Clip, Media, from_row
from ingest.stages.fetch import local_file, payload
from ingest.stages.frames import StillFrame, limits, request

_CLIP = ("uid", "media_uid", "source", "kind", "uri", "start_s", "end_s", "frame_times_s", "frames")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ReferencedFrames:
    """Rows of clips to the same with their frames. Those that have frames already are left as they are."""

    frames: settings.Frames
    choice: Choice | None = None

    def __call__(self, rows: pa.Table) -> pa.Table:
        """`rows`: the columns of clips, and `epoch` where there are epochs.

        A medium that cannot be read leaves its clip without frames. Raises StorageError where the store itself fails.
        """
        clips = [from_row(Clip, row) for row in rows.select(_CLIP).to_pylist()]
        epochs = rows["epoch"].to_pylist() if "epoch" in rows.column_names else [0] * len(clips)
        images = [clip.frames or self.of(clip, epoch) for clip, epoch in zip(clips, epochs, strict=True)]
        column = rows.column_names.index("frames")
        return rows.set_column(column, rows.schema.field("frames"), pa.array(images, pa.list_(pa.binary())))

    def of(self, clip: Clip, epoch: int = 0) -> Sequence[bytes]:
        """The frames of one clip that the choice takes; none of a medium that cannot be read."""
        times = clip.frame_times_s
        taken = self.choice(clip.uid, epoch, len(times)) if self.choice else range(len(times))
        if not len(taken):
            return ()
        numbers, places = np.unique(np.array(taken), return_inverse=True)
        try:
            images = self._read(clip, [times[number] for number in numbers])
        except MediaError as error:
            _log.warning(
                "%s: clip %s cannot be decoded (%s: %s)", clip.uri, clip.uid, error.reason, error.detail
            )
            return ()
        return [images[place] for place in places]

    def _read(self, clip: Clip, times_s: Sequence[float]) -> Sequence[bytes]:
        medium = Media(clip.media_uid, clip.source, clip.uri, clip.kind, clip.uri)
        if clip.kind == "image":
            return [StillFrame(self.frames).read(replace(medium, payload=payload(medium)))]
        with local_file(medium) as path:
            asked = replace(request(self.frames, clip), times_s=tuple(times_s))
            return decoder(limits(self.frames)).frames(path, asked)[1]
