"""A search in a process of its own, to be killed.   python -m tests.tune.drivers ADDRESS FOLDER

`FOLDER` gets store, runs and tracking; while the file `released` is missing, trials wait at the row `HELD_FROM`.
"""

import sys
from pathlib import Path

from infra.session import start
from infra.tracking import TrackedRun, tracking_for
from ingest.cluster.stored import StoredStream
from tests.trainers.held import Held, HeldStream
from tests.trainers.tiny import training
from trainers.evaluation.protocol import Declared
from trainers.recipe import Training
from tune.cluster.job import SearchJob
from tune.cluster.search import run_search
from tune.results import SearchResult
from tune.settings import Setting
from tune.space import Grid, Search

STEPS = 8
FROZEN = Setting({"stages.0.frozen_below.text": 1})
HELD_FROM = 12
"""Rows of the narrated stream: 4 a batch, a batch every other step, so steps 1 to 6 can be made without them."""


def seed_of(checkpoint: str) -> tuple[dict[str, float], dict[str, float]]:
    """A score that needs no weights: the seed in the trial's name."""
    return {"seed": float(checkpoint.split("seed-")[1][0])}, {"seed": -1.0}


def no_lineage(training: Training) -> dict[str, str]:
    """Nothing is said of where the weights come from."""
    return {}


def new_run(folder: Path) -> TrackedRun:
    """The search's tracked run, the same in every process."""
    return tracking_for(str(folder)).start_run("search")


def search_in(folder: Path) -> SearchResult:
    """Two trials, one after the other."""
    hold = Held(folder / "released", HELD_FROM)
    job = SearchJob(
        training(STEPS, checkpoint_every=2, threads=1),
        Search(
            space={name: Grid((value,)) for name, value in FROZEN.values.items()}, seeds=(0, 1), metric="seed"
        ),
        {
            "narrated": HeldStream(StoredStream(str(folder / "store"), "narrated"), hold),
            "captioned": StoredStream(str(folder / "store"), "captioned"),
        },
        seed_of,
        {"seed": Declared("seed", "seed", "Seeds", unit="")},
        str(folder / "runs" / "search"),
        new_run(folder),
        no_lineage,
    )
    return run_search(job, start())


if __name__ == "__main__":
    start(sys.argv[1])
    search_in(Path(sys.argv[2]))
