"""Small synthetic streams of clips, for tests that need shards and no video."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import simplejpeg

from ingest.records import Clip, Utterance, stable_uid
from ingest.stores.ledger import Ledger, Line, Part
from ingest.stores.shards import PartWriter


def synthetic_clip(number: int, num_frames: int = 24, side: int = 16) -> Clip:
    """Clip `number`: its colour, its caption and its four transcripts tell its number."""
    colour = np.array([number * 37 % 256, number * 91 % 256, number * 151 % 256], np.uint8)
    picture = np.broadcast_to(colour, (side, side, 3)).copy()
    jpeg = simplejpeg.encode_jpeg(picture, quality=95, colorsubsampling="444")
    said = tuple(Utterance(f"clip {number} says {i}", 2.0 * i, 2.0 * i + 1.5) for i in range(4))
    times = tuple(8.0 * (i + 0.5) / num_frames for i in range(num_frames))
    uid = stable_uid("synthetic", number)
    caption = (f"caption {number}",)
    return Clip(
        uid, uid, "synthetic", "video", "", 0.0, 8.0, caption, None, said, times, (jpeg,) * num_frames
    )


def write_stream(
    store: str,
    stream: str,
    num_clips: int,
    per_shard: int = 12,
    row_group: int = 4,
    labels: Sequence[str | None] = (None,),
) -> list[Clip]:
    """A committed stream of synthetic clips in several shards, with these labels in turn; returns the clips in the
    order they were made."""
    clips = [
        replace(synthetic_clip(number), label=labels[number % len(labels)]) for number in range(num_clips)
    ]
    for start in range(0, num_clips, per_shard):
        shard = stable_uid("synthetic shard", stream, start)
        writer = PartWriter(store, stream, shard, row_group)
        for clip in clips[start : start + per_shard]:
            writer.add(clip)
        parts: tuple[Part, ...] = writer.finish()
        num = sum(part.num_rows for part in parts)
        Ledger(store, stream).commit(
            Line(shard, str(start), "synthetic", str(start), "settings", parts, num, num)
        )
    return clips
