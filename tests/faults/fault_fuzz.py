"""A thousand broken media files through ingest: it ends, and every file is in a shard or in quarantine, once.

python -m tests.faults.fault_fuzz [--quick]
"""

import argparse
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from infra import session
from ingest.cluster.graph import ingest
from ingest.records import stable_uid
from ingest.settings import Frames, Ingest
from ingest.sources.webvid import WebVid
from ingest.stores.quarantine import read_rejects
from ingest.stores.shards import read_clips
from tests.faults.mutations import mutated, originals

SETTINGS = Ingest(
    rows_per_shard=16, frames=Frames(candidates=4, short_side=64, deadline_s=10.0, memory_mb=1024)
)


@dataclass(frozen=True)
class Fate:
    """What became of the files."""

    num_files: int
    clips: int
    reasons: Counter[str]
    lost: int
    """In neither a shard nor the quarantine."""
    doubled: int
    """In more than one place."""
    counted: int
    """Media that the summary counts."""


def fuzz(folder: Path, count: int, seed: int = 0) -> Fate:
    """Break `count` files, ingest them into folder/store (a Ray must have been joined) and look for each."""
    videos = folder / "raw" / "videos" / "p"
    videos.mkdir(parents=True)
    rows = ["videoid,contentUrl,duration,page_dir,name"]
    for number, (name, data) in enumerate(mutated(originals(folder / "originals"), count, seed)):
        (videos / f"{number}.mp4").write_bytes(data)
        rows.append(f"{number},http://x,PT2S,p,{name}")
    (folder / "raw" / "results_train.csv").write_text("\n".join(rows) + "\n")
    store = str(folder / "store")
    source = WebVid(str(folder / "raw"))
    summary = ingest([source], SETTINGS, store)
    clips = read_clips(store, source.stream, limit=10 * count)
    rejects = read_rejects(store, source.stream)
    places = Counter([clip.media_uid for clip in clips] + [reject.uid for reject in rejects])
    uids = [stable_uid(source.name, f"p/{number}") for number in range(count)]
    return Fate(
        num_files=count,
        clips=len(clips),
        reasons=Counter(f"{reject.stage}/{reject.reason}" for reject in rejects),
        lost=sum(uid not in places for uid in uids),
        doubled=sum(times > 1 for times in places.values()),
        counted=sum(stream.num_media for stream in summary.streams),
    )


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="48 files")
    count = 48 if parser.parse_args().quick else 1000
    session.start("local")
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        fate = fuzz(Path(folder), count)
    print(f"{count} files in {time.monotonic() - started:.0f} s: {fate.clips} clips, the rest set aside")
    for reason, times in fate.reasons.most_common():
        print(f"  {reason:28} {times:5}")
    print(f"fault_fuzz_lost value={fate.lost} target=<=0")
    print(f"fault_fuzz_doubled value={fate.doubled} target=<=0")
    print(f"fault_fuzz_counted value={fate.counted} target={count}")
    sys.exit(0 if (fate.lost, fate.doubled, fate.counted) == (0, 0, count) else 1)


if __name__ == "__main__":
    main()
