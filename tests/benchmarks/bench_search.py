"""What a search costs beside the trainings it consists of, and what packing its trials saves.

    python -m tests.benchmarks.bench_search [--quick]

Overhead: a search of one trial against the same training without a search, both scored, in turns; the seconds that the
trial takes longer. Packing: a search of four trials, as many at a time as fit, against the sum of four searches of one.
The model is the tests' tiny one on drawn clips, so that a trial is mostly start-up: a real one hides more of it.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from infra.cpus import most_trials, plan_cpus
from infra.session import Session, start, stop
from infra.tracking import TrackedRun, tracking_for
from ingest.cluster.stored import StoredStream
from pipeline.evaluation.cluster.embed import Checkpoint, Gallery, StartWeights
from pipeline.evaluation.evaluate import START, evaluate
from tests.benchmarks.paired import result
from tests.ingest.clips import synthetic_clip, write_stream
from tests.trainers.tiny import training
from trainers.cluster.job import StageJob
from trainers.cluster.launch import ClipStream, train_stage
from trainers.evaluation.protocol import HeldOut, declared_by
from trainers.evaluation.protocols.drift import Drift
from trainers.evaluation.protocols.retrieval import Retrieval
from trainers.evaluation.protocols.sorting import Sorting
from trainers.recipe import Training
from tune.cluster.job import SearchJob
from tune.cluster.search import run_search
from tune.space import Grid, Search

NUM_CLIPS = 24
NUM_TRIALS = 4
PROTOCOLS = (Retrieval(), Sorting(), Drift())


@dataclass(frozen=True)
class Score:
    """The search's own scores, on drawn clips."""

    store: str
    training: Training

    @property
    def held_out(self) -> HeldOut:
        """A text of every clip."""
        captions = {
            synthetic_clip(number).media_uid: {"D": [f"clip {number}"]} for number in range(NUM_CLIPS)
        }
        return HeldOut("val", self.training.system, captions, {})

    def __call__(self, checkpoint: str) -> tuple[dict[str, float], dict[str, float]]:
        """The metrics of a checkpoint and of the start weights."""
        pixels, frames = self.training.pixels, self.training.num_frames
        gallery = Gallery(self.held_out, self.store, pixels, frames, batch_size=24)
        models = {START: StartWeights(self.training), "trained": Checkpoint(checkpoint)}
        found = evaluate(gallery, models, PROTOCOLS)
        return found["trained"].values, found[START].values


@dataclass(frozen=True)
class Place:
    """A folder with clips, and what is trained on them."""

    folder: Path
    steps: int
    session: Session
    run: TrackedRun

    @property
    def training(self) -> Training:
        """The tests' tiny recipe."""
        return training(self.steps, threads=1, checkpoint_every=self.steps)

    @property
    def score(self) -> Score:
        """How trials are compared."""
        return Score(str(self.folder / "store"), self.training)

    def streams(self) -> dict[str, ClipStream]:
        """Both streams of the recipe."""
        return {name: StoredStream(self.score.store, name) for name in ("narrated", "captioned")}

    def bare(self) -> None:
        """One training as `reelscript train` has it, and its scores."""
        name = f"bare-{time.monotonic_ns()}"
        job = StageJob(self.training, 0, str(self.folder / name), self.run.start_child(name))
        trained = train_stage(job, self.streams(), plan_cpus(self.session.num_cpus, 1, 2), self.session)
        self.score(trained.checkpoint)

    def searched(self, seeds: range, concurrent: int = 1) -> None:
        """A search of one setting and these seeds."""
        name = f"search-{time.monotonic_ns()}"
        job = SearchJob(
            self.training,
            Search(
                space={"stages.0.frozen_below.text": Grid((1,))},
                seeds=tuple(seeds),
                metric="D/t2v_R1",
                max_concurrent=concurrent,
            ),
            self.streams(),
            self.score,
            declared_by(PROTOCOLS, self.score.held_out),
            str(self.folder / name),
            self.run.start_child(name),
            no_lineage,
        )
        found = run_search(job, self.session)
        assert len(found.trials) == len(seeds)


def no_lineage(training: Training) -> dict[str, str]:
    """Nothing is said of where the weights come from."""
    return {}


def seconds(work: Callable[[], object]) -> float:
    """Wall time."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def overhead(place: Place, repeats: int) -> None:
    """Both sides in turns, after one warm-up each."""
    place.bare()
    place.searched(range(1))
    pairs = [(seconds(place.bare), seconds(lambda: place.searched(range(1)))) for _ in range(repeats)]
    for bare_s, trial_s in pairs:
        print(f"  bare training {bare_s:6.1f} s   search of one trial {trial_s:6.1f} s")
    value = median(trial_s - bare_s for bare_s, trial_s in pairs)
    print(f"search_trial_overhead_s value={value:.1f} target=<=25")


def packing(place: Place) -> None:
    """Four trials in one search against four searches of one."""
    at_once = most_trials(place.session.num_cpus, place.session.num_gpus, 1)
    alone_s = sum(seconds(lambda: place.searched(range(1))) for _ in range(NUM_TRIALS))
    packed_s = seconds(lambda: place.searched(range(NUM_TRIALS), concurrent=NUM_TRIALS))
    print(f"  four alone {alone_s:6.1f} s   packed, {at_once} at a time {packed_s:6.1f} s")
    result("search_packing", packed_s / alone_s, "<=1.10")


def main(arguments: list[str]) -> None:
    """See the top."""
    quick = "--quick" in arguments
    session = start("local")
    with tempfile.TemporaryDirectory() as folder:
        for stream in ("narrated", "captioned", "val"):
            write_stream(str(Path(folder) / "store"), stream, NUM_CLIPS)
        run = tracking_for(folder).start_run("bench_search")
        place = Place(Path(folder), 4 if quick else 200, session, run)
        overhead(place, repeats=1 if quick else 3)
        packing(place)
    stop()


if __name__ == "__main__":
    main(sys.argv[1:])
