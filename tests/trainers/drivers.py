"""A run of the tiny recipe that can be held back, in this process or in one that is to be killed.

    python -m tests.trainers.drivers ADDRESS FOLDER STEPS WORKERS HELD_FROM

`FOLDER` gets the store, the runs, the tracking and, from whoever lets the held rows pass, the file `released`.
"""

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import ray

from infra.cpus import plan_cpus
from infra.session import start
from infra.tracking import TrackedRun, tracking_for
from ingest.cluster.stored import StoredStream
from tests.faults.processes import below
from tests.ingest.clips import write_stream
from tests.tracker import lay_database
from tests.trainers.held import Held, HeldStream
from tests.trainers.tiny import SYSTEM, adamw, training
from trainers.cluster.job import StageJob
from trainers.cluster.launch import Trained, train_stage
from trainers.evaluation.validation import Validation
from trainers.objectives.settings import Contrastive, Sorting
from trainers.recipe import Cosine, Training

NUM_CLIPS = 24


def recipe_of(steps: int, workers: int | str = 1, checkpoint_every: int = 4) -> Training:
    """The tiny recipe, so that the losses depend on the number of workers by rounding alone.

    The published temporal attention begins with rounding errors for gradients, of which AdamW makes whole steps.
    """
    plain = training(steps, checkpoint_every=checkpoint_every, threads=1)
    optimizer = adamw(1e-3, 1e-3, course=Cosine())
    stage = replace(
        plain.stages[0], objectives=(Contrastive(gather="summed"), Sorting()), optimizer=optimizer
    )
    system = replace(SYSTEM, video=replace(SYSTEM.video, temporal_start="from_spatial"))
    launch = replace(plain.launch, workers=workers, trace_batches=True)
    return replace(plain, system=system, stages=(stage,), launch=launch)


@dataclass(frozen=True)
class Place:
    """A folder with a store, whose narrated rows are held back from a position on until they are released."""

    folder: Path
    held_from: int

    @property
    def store(self) -> str:
        """URI of the clips."""
        return str(self.folder / "store")

    @property
    def run_folder(self) -> str:
        """URI of the run."""
        return str(self.folder / "runs" / "run")

    def write(self) -> None:
        """The clips, and a tracker without runs."""
        lay_database(self.folder)
        for stream in ("narrated", "captioned"):
            write_stream(self.store, stream, NUM_CLIPS)

    def release(self) -> None:
        """Let the held rows pass."""
        (self.folder / "released").touch()

    def new_run(self) -> TrackedRun:
        """A tracked run of its own."""
        return tracking_for(str(self.folder)).start_run("test", params={"seed": 0})

    def train(self, recipe: Training, run: TrackedRun, validation: Validation | None = None) -> Trained:
        """Train in this process and its Ray."""
        session = start()
        kept = validation.num_cpus if validation else 0.0
        hold = Held(self.folder / "released", self.held_from)
        job = StageJob(recipe, 0, self.run_folder, run, lineage={"commit": "none"}, validation=validation)
        return train_stage(
            job,
            {
                "narrated": HeldStream(StoredStream(self.store, "narrated"), hold),
                "captioned": StoredStream(self.store, "captioned"),
            },
            plan_cpus(session.num_cpus, recipe.launch.fewest_workers, 2, validation=kept),
            replace(session, num_nodes=1),  # the nodes of a test share this machine's files
        )

    def train_elsewhere(self, steps: int, workers: int | str = 1) -> "subprocess.Popen[bytes]":
        """Train in a process of its own that joins this process's Ray."""
        address = ray.get_runtime_context().gcs_address
        words = (address, self.folder, steps, workers, self.held_from)
        return subprocess.Popen([sys.executable, "-m", "tests.trainers.drivers", *map(str, words)])


def training_workers(driver: int) -> list[int]:
    """The training workers of the Ray that process `driver` started."""
    return [process.pid for process in below(driver) if process.name.startswith("ray::RayTrainWorker")]


def wait_until(happened: Callable[[], object], limit_s: float = 300.0) -> None:
    """Asserts that it happens in time."""
    until = time.monotonic() + limit_s
    while not happened():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.05)


def main() -> None:
    """See the top."""
    address, folder, steps, workers, held_from = sys.argv[1:]
    start(address)
    place = Place(Path(folder), int(held_from))
    place.train(recipe_of(int(steps), int(workers) if workers.isdigit() else workers), place.new_run())


if __name__ == "__main__":
    main()
