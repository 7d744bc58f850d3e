"""A search in a process of its own, to be killed.   python -m tests.tune.drivers ADDRESS FOLDER

`FOLDER` gets store, runs and tracking; while the file `released` is missing, trials wait at the row `HELD_FROM`.
"""

import sys
from functools import partial
from pathlib import Path

from infra.session import start
from infra.tracking import TrackedRun, tracking_for
from ingest.cluster.stored import clip_stream
from tests.trainers.held import Held, held_stream
from tests.trainers.tiny import training
from trainers.evaluation.protocol import Declared
from trainers.recipe import Training
from tune.cluster.search import run_search
from tune.results import SearchResult
from tune.space import Grid, Search

STEPS = 8
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
    return run_search(
        training(STEPS, checkpoint_every=2, threads=1),
        Search(space={"stages.0.frozen_below.text": Grid((1,))}, seeds=(0, 1), metric="seed"),
        {
            "narrated": partial(held_stream, str(folder / "store"), "narrated", hold),
            "captioned": partial(clip_stream, str(folder / "store"), "captioned"),
        },
        seed_of,
        {"seed": Declared("seed", "seed", "Seeds", unit="")},
        storage=str(folder / "runs"),
        run_name="search",
        start=None,
        run=new_run(folder),
        lineage=no_lineage,
        session=start(),
    )


if __name__ == "__main__":
    start(sys.argv[1])
    search_in(Path(sys.argv[2]))
