"""The ingest that the fault runs disturb: three small archives, and what tells whether a store is whole.

`python -m tests.faults.ingests RAW STORE MODEL` is one such ingest in a process of its own, to be killed.
"""

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from infra import objects, session
from ingest.cluster.graph import ingest
from ingest.settings import Frames, Ingest, Sentences, Speech
from ingest.source import Source
from ingest.sources.cc12m import CC12M
from ingest.sources.webvid import WebVid
from ingest.sources.yt_temporal import YTTemporal
from ingest.stores.quarantine import read_rejects
from ingest.stores.shards import read_clips
from tests.ingest.archives import write_cc12m, write_webvid, write_yt_temporal
from tests.ingest.speech_model import write_random_whisper

STREAMS = ("captioned", "stills", "narrated")


@dataclass(frozen=True)
class Archives:
    """Raw files in the three layouts and the speech model that hears those without a transcript."""

    raw: str
    model: str
    num_media: int
    num_shards: int

    @property
    def sources(self) -> tuple[Source, ...]:
        """Captioned videos, stills, narrated videos."""
        return (
            WebVid(objects.join(self.raw, "webvid")),
            CC12M(objects.join(self.raw, "cc12m")),
            YTTemporal(objects.join(self.raw, "yt_temporal")),
        )

    @property
    def settings(self) -> Ingest:
        """Small shards; every utterance is a clip, since a random model says how many there are."""
        return ingest_settings(self.model)


def ingest_settings(model: str) -> Ingest:
    """See `Archives.settings`."""
    return Ingest(
        narrated=Sentences(transcripts=1),
        rows_per_shard=2,
        row_group=2,
        frames=Frames(candidates=8, short_side=32, memory_mb=2048),
        speech=Speech(model=model, temperatures=(0.0,), no_speech=1.1),
    )


def write_archives(folder: Path, num_videos: int = 19) -> Archives:
    """`num_videos` captioned videos and five broken ones, five stills, four narrated videos (two to be heard)."""
    raw = folder / "raw"
    write_webvid(raw / "webvid", num_videos, broken=True)
    write_cc12m(raw / "cc12m", num_images=5)
    write_yt_temporal(raw / "yt_temporal", annotated=2, unannotated=2)
    model = write_random_whisper(folder / "random.pt")
    return Archives(str(raw), str(model), num_videos + 14, -(-(num_videos + 5) // 2) + 3)


def contents(store: str) -> dict[str, bytes]:
    """Every file of a store by its place in it."""
    return {uri.removeprefix(store): objects.read_bytes(uri) for uri in objects.list_files(store)}


def times_found(store: str, streams: Sequence[str] = STREAMS) -> Counter[str]:
    """How often each clip and each reject is in the store, by uid."""
    return Counter(
        item.uid for stream in streams for item in (*read_clips(store, stream), *read_rejects(store, stream))
    )


def main() -> None:
    """One ingest on a Ray of its own."""
    raw, store, model = sys.argv[1:]
    session.start("local")
    archives = Archives(raw, model, 0, 0)
    ingest(archives.sources, archives.settings, store)


if __name__ == "__main__":
    main()
