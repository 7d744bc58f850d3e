"""The whole graph against the same stages in a bare process pool, and against `ray.data.read_videos`: videos/s.

    python -m tests.benchmarks.bench_ingest [--quick]

WebVid's layout with captions, 24 candidate frames a video, short side 256. The clock starts when every worker has
finished its first input shard, on all sides, so that starts are not measured. Sides take turns, twice.
"""

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from statistics import median

import numpy as np
import ray.data

from infra import session
from infra.cpus import machine_cores
from ingest.cluster.graph import ingest
from ingest.decode.child import middle_indices
from ingest.decode.images import encode, resize_short_side
from ingest.plan import ShardTask, StreamSummary
from ingest.settings import Frames, Ingest
from ingest.sources.webvid import WebVid
from ingest.stages.shard import Maker, task_rows
from tests.benchmarks.films import Film, generate

SETTINGS = Ingest(rows_per_shard=8, frames=Frames(candidates=24, short_side=256))
FILMS = (Film(596, 336, 12, 250, 3), Film(480, 270, 20, 250, 3), Film(640, 360, 10, 48, 2))


def archive(folder: Path, count: int, films: Path) -> WebVid:
    """`count` videos, copies of a few."""
    paths = [generate(film, films) for film in FILMS]
    videos = folder / "videos" / "p"
    videos.mkdir(parents=True)
    rows = ["videoid,contentUrl,duration,page_dir,name"]
    for number in range(count):
        shutil.copy(paths[number % 3], videos / f"{number}.mp4")
        rows.append(f"{number},http://x,PT12S,p,a caption of number {number}")
    (folder / "results_train.csv").write_text("\n".join(rows) + "\n")
    return WebVid(str(folder))


class Rate:
    """Videos per second from the moment when the first `skip` are done."""

    def __init__(self, skip: int) -> None:
        self.skip, self.started, self.first, self.done = skip, 0.0, 0, 0

    def at(self, done: int) -> None:
        """`done` videos are finished now."""
        now = time.perf_counter()
        if not self.started and done >= self.skip:
            self.started, self.first = now, done
        self.last, self.done = now, done

    @property
    def per_s(self) -> float:
        """The rate."""
        return (self.done - self.first) / (self.last - self.started)


def by_graph(source: WebVid, store: str) -> float:
    """Reelscript's own."""
    rate = Rate(skip=SETTINGS.rows_per_shard * machine_cores())

    def tell(stands: StreamSummary) -> None:
        rate.at(stands.num_media)

    ingest([source], SETTINGS, store, tell)
    return rate.per_s


def by_pool(source: WebVid, store: str) -> float:
    """The same stages and the same store, one process per core and nothing else."""
    rate, done = Rate(skip=SETTINGS.rows_per_shard * machine_cores()), 0
    tasks = [ShardTask(0, shard) for shard in source.shards(SETTINGS.rows_per_shard)]
    with ProcessPoolExecutor(machine_cores(), get_context("spawn")) as pool:
        waiting = [pool.submit(make, source, store, task.to_json()) for task in tasks]
        for _ in as_completed(waiting):
            done += SETTINGS.rows_per_shard
            rate.at(done)
    return rate.per_s


def make(source: WebVid, store: str, task: str) -> None:
    """One input shard, in a process of the pool."""
    for _ in Maker((source,), SETTINGS, store)(task_rows([task], [None])):
        pass


def by_read_videos(source: WebVid, count: int) -> float:
    """Ray Data's own reader: all frames as rows; of each video the wanted ones are resized and encoded."""
    paths = [f"{source.root}/videos/p/{number}.mp4" for number in range(count)]
    rate = Rate(skip=machine_cores())
    frames = ray.data.read_videos(paths, include_paths=True).map_batches(encode_frames, batch_size=None)
    for done, _ in enumerate(frames.iter_batches(batch_size=None), start=1):
        rate.at(done)
    return rate.per_s


def encode_frames(batch: dict[str, np.ndarray]) -> dict[str, list[bytes]]:
    """A block of read_videos holds the frames of a video."""
    wanted = middle_indices(SETTINGS.frames.candidates, len(batch["frame"]))
    small = (resize_short_side(batch["frame"][number], SETTINGS.frames.short_side) for number in wanted)
    return {"jpeg": [encode(frame, SETTINGS.frames.jpeg_quality) for frame in small]}


def measure(sides: dict[str, Callable[[str], float]], turns: int, folder: Path) -> dict[str, list[float]]:
    """Rates of each side, in turns."""
    found: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(turns):
        for name in names_in_turn(sides, turn):
            store = folder / f"{name}-{turn}"
            found[name].append(sides[name](str(store)))
            shutil.rmtree(store, ignore_errors=True)
            print(f"  turn {turn}  {name:12} {found[name][-1]:6.2f} videos/s", flush=True)
    return found


def names_in_turn(names: Iterable[str], turn: int) -> list[str]:
    """Each side goes first in half of the turns."""
    return list(names) if turn % 2 == 0 else list(names)[::-1]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="48 videos, one turn")
    parser.add_argument("--videos", type=int, default=1200)
    parser.add_argument("--films", type=Path, default=Path(tempfile.gettempdir()) / "reelscript_films")
    arguments = parser.parse_args()
    count, turns = (48, 1) if arguments.quick else (arguments.videos, 2)
    session.start("local")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source, few = (archive(folder / str(n), n, arguments.films) for n in (count, max(16, count // 4)))
        sides = {"graph": partial(by_graph, source), "pool": partial(by_pool, source)}
        rates = measure(sides, turns, folder)
        slow = measure({"read_videos": lambda store: by_read_videos(few, max(16, count // 4))}, 1, folder)
    ratios = [graph / pool for graph, pool in zip(rates["graph"], rates["pool"], strict=True)]
    print(f"ingest_against_pool ratio={median(ratios):.2f} target=0.90")
    against = median(rates["graph"]) / median(slow["read_videos"])
    print(f"ingest_against_read_videos ratio={against:.1f} target=5.0")


if __name__ == "__main__":
    main()
