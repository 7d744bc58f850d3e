"""One input shard into the store: clips, then rejects, then the line that makes them count."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ingest.records import Clip, Reject
from ingest.stores.ledger import Ledger, Line
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


def commit_shard(place: ShardPlace, media: Iterable[Sequence[Clip | Reject]]) -> Line:
    """Write what became of each medium of an input shard. Stopping before the end leaves nothing that counts."""
    writer = PartWriter(place.store, place.stream, place.shard, place.row_group)
    rejects: list[Reject] = []
    num_media = num_transcribed = 0
    clips_s = 0.0
    for made in media:
        num_media += 1
        num_transcribed += any(transcribed(item) for item in made if isinstance(item, Clip))
        for item in made:
            if isinstance(item, Reject):
                rejects.append(item)
            else:
                writer.add(item)
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
        num_clips=sum(part.num_rows for part in parts),
        num_transcribed=num_transcribed,
        clips_s=round(clips_s, 3),
        rejects=dict(sorted(Counter(f"{item.stage}/{item.reason}" for item in rejects).items())),
    )
    Ledger(place.store, place.stream).commit(line)
    return line


def transcribed(clip: Clip) -> bool:
    """Whether a speech model heard what the clip says."""
    return any(utterance.origin != "provider" for utterance in clip.transcripts)
