"""Makes the demo's data on the spot, in the three real file layouts, with five broken files among them.

    webvid/        results_train.csv, videos/<page_dir>/<videoid>.mp4     captioned (register B), silent
    cc12m/         00000.tar, …                                           stills (registers A, B, D)
    yt_temporal/   meta_data/yttemporal_train.csv, videos/<subset>/data/  narrated (register A); every other
                   <id>.mp4, videos/<subset>/annotations/<id>.json        video has no annotation
    held_out/      as yt_temporal: val, test and twins (test videos told in another order), and captions.json,
                   which gives each name's texts in the three registers

The same size and seed give the same bytes. A folder that is already complete is left alone.
"""

import json
import multiprocessing
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np

from pipeline.demo.broken import BREAKAGES
from pipeline.demo.films import Film, make_film
from pipeline.demo.layouts import NarratedArchive, WebVidArchive
from pipeline.demo.plans import Story, Storyteller
from pipeline.demo.scenes import Canvas
from pipeline.demo.stills import STILLS_PER_SHARD, StillShard, write_still_shard

Progress = Callable[[str, int, int], None]
"""Called with what is made, how many are done, and how many there will be."""

CANVAS = Canvas()
TWIN_EVERY = 5  # of the captioned videos
_FORMAT = 1  # raised when the same seed gives other files
_FILMS_PER_TASK = 20


@dataclass(frozen=True)
class CorpusSize:
    """How many of everything."""

    captioned: int = 800
    """Captioned training videos of four events; every fifth is the twin of the one before."""
    narrated: int = 400
    """Narrated training videos of eight events, two clips each."""
    stills: int = 12_000
    """Captioned stills."""
    val: int = 50
    """Held-out videos for choosing between runs."""
    test: int = 100
    """Held-out videos for the figures reported."""
    twins: int = 50
    """Test videos that are also told in another order."""

    @staticmethod
    def tiny() -> "CorpusSize":
        """A handful of each, for tests."""
        return CorpusSize(captioned=10, narrated=4, stills=30, val=2, test=4, twins=2)


@dataclass(frozen=True)
class Corpus:
    """Where the parts of a corpus lie; `broken` gives the files made unfit on purpose, by what ails them."""

    root: Path
    broken: dict[str, Path]

    @property
    def webvid(self) -> Path:
        return self.root / "webvid"

    @property
    def cc12m(self) -> Path:
        return self.root / "cc12m"

    @property
    def yt_temporal(self) -> Path:
        return self.root / "yt_temporal"

    @property
    def held_out(self) -> Path:
        return self.root / "held_out"

    @property
    def captions(self) -> Path:
        return self.held_out / "captions.json"


def make_corpus(
    root: Path,
    size: CorpusSize = CorpusSize(),
    seed: int = 0,
    progress: Progress = lambda what, done, total: None,
    processes: int = 2,
) -> Corpus:
    """Make the corpus below `root`, or find it there; an unfinished or another one is made anew.

    Raises ValueError if there are more twins than test videos.
    """
    if size.twins > size.test:
        raise ValueError(f"twins: at most one for each of the {size.test} test videos, not {size.twins}")
    plan = _Plan(root, size, seed)
    corpus = Corpus(root, plan.broken)
    marker = root / "corpus.json"
    description = {"format": _FORMAT, "seed": seed, "size": asdict(size)}
    if marker.exists():
        if json.loads(marker.read_text()) == {**description, "complete": True}:
            return corpus
        _remove_archives(corpus)  # ours, since the marker lies beside them
    root.mkdir(parents=True, exist_ok=True)
    marker.write_text(json.dumps({**description, "complete": False}))
    _write_small_files(plan, corpus)
    _make_all(plan, corpus, progress, processes)
    marker.write_text(json.dumps({**description, "complete": True}))
    return corpus


def _remove_archives(corpus: Corpus) -> None:
    for archive in (corpus.webvid, corpus.cc12m, corpus.yt_temporal, corpus.held_out):
        shutil.rmtree(archive, ignore_errors=True)


class _Plan:
    """Everything that will be made, known before the first picture is drawn."""

    def __init__(self, root: Path, size: CorpusSize, seed: int) -> None:
        teller = Storyteller(np.random.default_rng([seed, 0]))
        self.held_out = NarratedArchive(root / "held_out", seed, CANVAS.event_s)
        self.webvid = WebVidArchive(root / "webvid", seed, CANVAS.event_s)
        self.narrated = NarratedArchive(root / "yt_temporal", seed, CANVAS.event_s)
        self.stills = _still_shards(size.stills, seed)
        self.broken: dict[str, Path] = {}
        self._plan_held_out(teller, size)  # first, so that training avoids what it holds
        self._plan_captioned(teller, size.captioned)
        self._plan_narrated(teller, size.narrated)

    @property
    def films(self) -> list[Film]:
        return [*self.held_out.films, *self.webvid.films, *self.narrated.films]

    def _plan_held_out(self, teller: Storyteller, size: CorpusSize) -> None:
        test = [teller.held_out() for _ in range(size.test)]
        val = [teller.held_out() for _ in range(size.val)]
        twins = [teller.twin(story) for story in test[: size.twins]]
        for split, stories in (("test", test), ("val", val), ("twins", twins)):
            for story in stories:
                self.held_out.add(split, story, annotated=True)

    def _plan_captioned(self, teller: Storyteller, count: int) -> None:
        broken = _spread(("truncated", "zero_bytes", "overstated_length"), count)
        told: Story = ()
        for index in range(count):
            told = teller.twin(told) if index % TWIN_EVERY == TWIN_EVERY - 1 else teller.clip()
            self.webvid.add(told)
            for name in broken.get(index, ()):
                self.broken[name] = self.webvid.add_unmade(teller.clip())

    def _plan_narrated(self, teller: Storyteller, count: int) -> None:
        broken = _spread(("sound_only", "not_a_video"), count)
        for index in range(count):
            self.narrated.add("train", teller.two_clips(), annotated=index % 2 == 0)
            for name in broken.get(index, ()):
                self.broken[name] = self.narrated.add_unmade("train", teller.two_clips())


def _spread(names: Sequence[str], count: int) -> dict[int, list[str]]:
    """The names placed evenly over 0 to count - 1."""
    places: dict[int, list[str]] = {}
    for index, name in enumerate(names):
        places.setdefault((2 * index + 1) * count // (2 * len(names)), []).append(name)
    return places


def _still_shards(count: int, seed: int) -> list[StillShard]:
    starts = range(0, count, STILLS_PER_SHARD)
    return [StillShard(i, min(STILLS_PER_SHARD, count - start), seed) for i, start in enumerate(starts)]


def _write_small_files(plan: _Plan, corpus: Corpus) -> None:
    """Lists, held-out captions and broken files."""
    for archive in (plan.webvid, plan.narrated, plan.held_out):
        archive.write_lists()
    plan.held_out.write_captions(corpus.captions)
    for name, path in plan.broken.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        BREAKAGES[name](path)


def _make_all(plan: _Plan, corpus: Corpus, progress: Progress, processes: int) -> None:
    """Draw films and stills in several processes; a failure in one ends all."""
    corpus.cc12m.mkdir(parents=True, exist_ok=True)
    films = plan.films
    batches = [films[i : i + _FILMS_PER_TASK] for i in range(0, len(films), _FILMS_PER_TASK)]
    totals = {"videos": len(films), "stills": sum(shard.count for shard in plan.stills)}
    done = dict.fromkeys(totals, 0)
    # A fork would inherit the locks of whatever threads the caller runs.
    fresh = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=fresh) as pool:
        jobs: list[tuple[float, tuple[str, int], Callable[[], None]]] = [
            (n / len(batches), ("videos", len(batch)), partial(_make_films, batch))
            for n, batch in enumerate(batches)
        ]
        jobs += [
            (
                n / len(plan.stills),
                ("stills", shard.count),
                partial(write_still_shard, corpus.cc12m, shard, CANVAS),
            )
            for n, shard in enumerate(plan.stills)
        ]
        # Side by side from first to last: files then come at one rate, though a video takes as long as many stills.
        jobs.sort(key=lambda job: job[0])
        tasks: dict[Future[None], tuple[str, int]] = {pool.submit(work): kind for _, kind, work in jobs}
        try:
            for task in as_completed(tasks):
                task.result()
                what, count = tasks[task]
                done[what] += count
                progress(what, done[what], totals[what])
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _make_films(films: Sequence[Film]) -> None:
    for film in films:
        make_film(film, CANVAS)
