"""One input shard into the store: clips, then rejects, then the line that makes them count."""

from collections import Counter
from collections.abc import Sequence
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


class ShardCommit:
    """Writes what became of an input shard, medium by medium. Nothing of it counts before `finish`."""

    def __init__(self, place: ShardPlace, writer: ClipWriter | None = None) -> None:
        """`writer`: who takes the clips; None: they become parts of the store."""
        self._place = place
        self._writer = writer or PartWriter(place.store, place.stream, place.shard, place.row_group)
        self._rejects: list[Reject] = []
        self._num_media = self._num_clips = self._num_transcribed = 0
        self._clips_s = 0.0

    def add(self, made: Sequence[Clip | Reject]) -> None:
        """What became of one more medium."""
        clips = [item for item in made if isinstance(item, Clip)]
        for clip in clips:
            self._writer.add(clip)
        self._rejects += [item for item in made if isinstance(item, Reject)]
        self._num_media += 1
        self._num_clips += len(clips)
        self._num_transcribed += any(map(transcribed, clips))
        self._clips_s += sum(clip.duration_s for clip in clips)

    def finish(self) -> Line:
        """The remaining clips, the rejects, and the line by which they count."""
        place, parts = self._place, self._writer.finish()
        write_rejects(place.store, place.stream, place.shard, self._rejects)
        line = Line(
            shard=place.shard,
            slot=place.slot,
            source=place.source,
            name=place.name,
            settings=place.settings,
            parts=parts,
            num_media=self._num_media,
            num_clips=self._num_clips,
            num_transcribed=self._num_transcribed,
            clips_s=round(self._clips_s, 3),
            rejects=dict(sorted(Counter(f"{item.stage}/{item.reason}" for item in self._rejects).items())),
        )
        Ledger(place.store, place.stream).commit(line)
        return line


def transcribed(clip: Clip) -> bool:
    """Whether a speech model heard what the clip says."""
    return any(utterance.origin != "provider" for utterance in clip.transcripts)
