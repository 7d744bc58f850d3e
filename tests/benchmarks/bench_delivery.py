"""Clips to the batches that a training worker gets, tokens included, against the loaders of others: clips/s.

    python -m tests.benchmarks.bench_delivery [--quick]

1. From shards (24 JPEG a clip, short side 268; 12 drawn, cut to 224): our stream against torch's DataLoader with the
   same decoder reading the same Parquet files, and against WebDataset reading tars of the same clips.
2. From mp4 (`store = reference`): our stream against a DataLoader with decord, as the reference trains.
3. How much of its time a training of b32 waits for captioned batches from shards, after its first steps: on a CPU
   with 2 clips a step, on a GPU with the published 24 in bf16.

Cores for two loading processes on every side, and the same priority. The clock starts with the first batches delivered
and stops while more are made, so that neither starts nor ends are measured. Sides take turns.
"""

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import mean, median
from typing import Any

from infra import session
from infra.cpus import plan_cpus
from infra.tracking import tracking_for
from ingest.cluster.stored import StoredStream
from ingest.order.rows import Rows, UnitWork
from ingest.plan import ShardTask
from ingest.settings import Frames, Ingest
from ingest.sources.webvid import WebVid
from ingest.stages.shard import Maker, task_rows
from ingest.stores.ledger import Ledger
from ingest.stores.shards import part_uri, parts_of
from ingest.stores.webdataset import export_part, tar_uri
from pipeline.recipes.tvtsv2 import tvtsv2_b32
from tests.benchmarks.films import Film, generate
from tests.benchmarks.loaders import Films, ParquetClips, Wanted, torch_loader, web_loader
from trainers.cluster.job import StageJob
from trainers.cluster.launch import train_stage
from trainers.data.batch import to_batch
from trainers.data.feed import preparing_tasks, rows_per_block
from trainers.data.prepare import Prepare
from trainers.recipe import Pixels, Stream
from trainers.systems.tvtsv2.rows import TVTSv2Reads
from trainers.systems.tvtsv2.settings import TVTSv2

FILMS = (Film(596, 336, 12, 250, 3), Film(480, 270, 20, 250, 3), Film(640, 360, 10, 48, 2))
SYSTEM = TVTSv2()
STREAM = Stream("captioned", batch_size=16, reads=TVTSv2Reads(), objectives={})
PIXELS = Pixels()
WANTED = Wanted(STREAM.batch_size, STREAM.frames, PIXELS)
WORKERS = 2
AHEAD = 2  # times as many batches are planned as are timed: reading goes on to the last, as amid a training

Side = Callable[[int], Iterable[Any]]
"""Gives that many batches."""


def archive(folder: Path, count: int, films: Path) -> WebVid:
    """`count` videos, copies of a few."""
    paths = [generate(film, films) for film in FILMS]
    (folder / "videos/p").mkdir(parents=True)
    rows = ["videoid,contentUrl,duration,page_dir,name"]
    for number in range(count):
        shutil.copy(paths[number % len(paths)], folder / f"videos/p/{number}.mp4")
        rows.append(f"{number},http://x,PT12S,p,a caption of some length for the film of number {number}")
    (folder / "results_train.csv").write_text("\n".join(rows) + "\n")
    return WebVid(str(folder))


def store_of(source: WebVid, store: str, frames: Frames) -> str:
    """All videos of an archive as clips."""
    settings = Ingest(rows_per_shard=16, frames=frames)
    for shard in source.shards(settings.rows_per_shard):
        for _ in Maker((source,), settings, store)(task_rows([ShardTask(0, shard).to_json()], [None])):
            pass
    return store


def ours(store: str, frames: Frames, num_batches: int) -> Iterator[Any]:
    """Our stream, as `trainers.cluster.launch` puts it together and a worker reads it."""
    plan = plan_cpus(session.start("local").num_cpus, workers=1)
    tasks, cpus = preparing_tasks(WORKERS, plan.reader)
    prepare = Prepare(STREAM, SYSTEM, PIXELS, seed=0)
    count = AHEAD * num_batches * STREAM.batch_size
    rows = Rows(0, 0, count, rows_per_block(STREAM, PIXELS.crop, [1]))
    prepared = StoredStream(store, STREAM.name, frames)(rows, UnitWork(prepare.choice, prepare, tasks, cpus))
    (share,) = prepared.streaming_split(1, equal=True)
    for columns in share.iter_torch_batches(batch_size=STREAM.batch_size, prefetch_batches=1, drop_last=True):
        yield to_batch(columns, SYSTEM)


def rate(side: Side, num_batches: int) -> float:
    """Clips per second after the first batches, among which are those made while nobody asked yet."""
    started, number, warm_up = 0.0, 0, max(4, num_batches // 8)
    for number, _ in enumerate(side(num_batches), start=1):
        if number == warm_up:
            started = time.perf_counter()
        if number == num_batches:
            break
    return (number - warm_up) * STREAM.batch_size / (time.perf_counter() - started)


def measure(sides: dict[str, Side], turns: int, num_batches: int) -> dict[str, list[float]]:
    """Rates of each side, in turns; each goes first in some."""
    found: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(turns):
        names = list(sides)
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            found[name].append(rate(sides[name], num_batches))
            print(f"  turn {turn}  {name:12} {found[name][-1]:7.1f} clips/s", flush=True)
    return found


def report(name: str, found: dict[str, list[float]], target: float) -> None:
    """Our rate over that of the best other, turn by turn."""
    others = [rates for side, rates in found.items() if side != "ours"]
    ratios = [mine / max(theirs) for mine, *theirs in zip(found["ours"], *others, strict=True)]
    print(f"{name} ratio={median(ratios):.2f} target={target:.2f}")


def from_shards(source: WebVid, folder: Path) -> dict[str, Side]:
    """The three readers of stored JPEG."""
    frames = Frames()
    store = store_of(source, str(folder / "jpeg"), frames)
    parts = parts_of(Ledger(store, STREAM.name).committed().values())
    for part in parts:
        export_part(store, STREAM.name, part)
    files = [Path(part_uri(store, STREAM.name, part.name)) for part in parts]
    tars = [Path(tar_uri(store, STREAM.name, part)) for part in parts]
    return {
        "ours": partial(ours, store, frames),
        "DataLoader": lambda n: torch_loader(ParquetClips(files, WANTED), WANTED, WORKERS),
        "WebDataset": lambda n: web_loader(tars, WANTED, WORKERS),
    }


def from_films(source: WebVid, folder: Path, count: int) -> dict[str, Side]:
    """The two readers of mp4."""
    frames = replace(Frames(), store="reference")
    store = store_of(source, str(folder / "reference"), frames)
    paths = [Path(source.root) / f"videos/p/{number}.mp4" for number in range(count)]
    captions = [f"a caption of some length for the film of number {number}" for number in range(count)]
    return {
        "ours": partial(ours, store, frames),
        "decord": lambda n: torch_loader(
            Films(paths, captions, WANTED, n * STREAM.batch_size), WANTED, WORKERS
        ),
    }


def waiting_share(store: str, folder: Path, quick: bool) -> None:
    """Train b32 from fresh weights and print the share."""
    joined = session.start("local")
    on_gpu = joined.num_gpus > 0
    clips, steps = (24, 400) if on_gpu else (2, 8 if quick else 20)
    published = tvtsv2_b32().training
    captioned = replace(published.stages[0].streams[1], batch_size=clips, rows_per_unit=clips)
    stage = replace(published.stages[0], streams=(captioned,), steps=steps)
    launch = replace(
        published.launch,
        workers=1,
        precision="bf16" if on_gpu else "fp32",
        log_every=steps // 4,
        checkpoint_every=steps,
    )
    run = tracking_for(str(folder)).start_run("waiting")
    training = replace(published, stages=(stage,), launch=launch)
    train_stage(
        StageJob(training, 0, str(folder / "runs" / "waiting"), run),
        {captioned.name: StoredStream(store, captioned.name)},
        plan_cpus(joined.num_cpus, workers=1),
        joined,
    )
    shares = [100 * share for _, share in run.history("wait_share")]
    print(f"waiting, by quarters of {steps} steps: " + ", ".join(f"{share:.2f} %" for share in shares))
    print(f"waiting_share_b32 value={mean(shares[1:]):.2f} target=<={5 if on_gpu else 2}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="32 clips, one turn of few batches")
    parser.add_argument("--clips", type=int, default=96)
    parser.add_argument("--films", type=Path, default=Path(tempfile.gettempdir()) / "reelscript_films")
    arguments = parser.parse_args()
    count, turns, length = (32, 1, 16) if arguments.quick else (arguments.clips, 3, 48)
    # Ray's own choice, 15, would give way to whatever else runs on the machine; that of the loaders is 0.
    os.environ.update(RAY_worker_niceness="0")
    session.start("local")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = archive(folder / "archive", count, arguments.films)
        stored = measure(from_shards(source, folder), turns, 5 * length)
        films = measure(from_films(source, folder, count), turns, length)
        report("delivery_from_shards", stored, 1.0)
        report("delivery_from_films", films, 1.2)
        waiting_share(str(folder / "jpeg"), folder, arguments.quick)


if __name__ == "__main__":
    main()
