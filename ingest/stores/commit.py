"""One input shard into the store: clips, then rejects, then the line that makes them count."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from ingest.records import Clip, Reject
from ingest.stores.ledger import Ledger, Line, Part
from ingest.stores.quarantine import write_rejects
from ingest.stores.shards import PartWriter


@dataclass(frozen=True)
class ShardPlace:
    """Which input shard, made with which settings, and where it goes."""

    store: str
    stream: str
    shard: str
    slot: str
    source: str
    name: str
    settings: str
    row_group: int


class ClipWriter(Protocol):
    """Takes the clips of one input shard."""

    def add(self, clip: Clip) -> None:
        """Take one more."""
        ...

    def finish(self) -> tuple[Part, ...]:
        """What was written of them."""
        ...


def commit_shard(
    place: ShardPlace, media: Iterable[Sequence[Clip | Reject]], writer: ClipWriter | None = None
) -> Line:
    """Write what became of each medium of an input shard. Stopping before the end leaves nothing that counts.

    `writer`: who takes the clips; None: they become parts of the store.
    """
    writer = writer or PartWriter(place.store, place.stream, place.shard, place.row_group)
    rejects: list[Reject] = []
    num_media = num_clips = num_transcribed = 0
    clips_s = 0.0
    for made in media:
        num_media += 1
        num_transcribed += any(transcribed(item) for item in made if isinstance(item, Clip))
        for item in made:
            if isinstance(item, Reject):
                rejects.append(item)
            else:
                writer.add(item)
                num_clips += 1
                clips_s += item.duration_s
    parts = writer.finish()
    write_rejects(place.store, place.stream, place.shard, rejects)
    line = Line(
        shard=place.shard,
        slot=place.slot,
        source=place.source,
        name=place.name,
        settings=place.settings,
        parts=parts,
        num_media=num_media,
        num_clips=num_clips,
        num_transcribed=num_transcribed,
        clips_s=round(clips_s, 3),
        rejects=dict(sorted(Counter(f"{item.stage}/{item.reason}" for item in rejects).items())),
    )
    Ledger(place.store, place.stream).commit(line)
    return line


def transcribed(clip: Clip) -> bool:
    """Whether a speech model heard what the clip says."""
    return any(utterance.origin != "provider" for utterance in clip.transcripts)
