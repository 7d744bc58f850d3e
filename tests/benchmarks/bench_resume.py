"""What a SIGKILL of the training worker at a random moment costs, against the same run undisturbed.

    python -m tests.benchmarks.bench_resume [--quick]

A tiny model under Ray Train on this machine, a worker on CPU, undisturbed and killed runs in turns. Time lost: how much
longer the killed run takes. To stay below: one checkpoint interval (median time between two commits of the undisturbed
run) plus one restart (from the start of that run to its first commit, less an interval: worker, model, readers).
"""

import argparse
import os
import random
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from infra import session
from tests.faults.processes import kill
from tests.trainers.drivers import Place, recipe_of, training_workers
from trainers.checkpoints.run_folder import latest_committed

CHECKPOINT_EVERY = 100
POLL_S = 0.05


@dataclass(frozen=True)
class Timed:
    """One run."""

    wall_s: float
    commits_s: tuple[float, ...]
    """When each checkpoint was committed, from the start."""

    @property
    def interval_s(self) -> float:
        """Between two commits."""
        return median(
            after - before for before, after in zip(self.commits_s, self.commits_s[1:], strict=False)
        )

    @property
    def start_s(self) -> float:
        """Until the first step."""
        return max(0.0, self.commits_s[0] - self.interval_s)


def timed(folder: Path, steps: int, kill_after_s: float | None = None) -> Timed:
    """Train; `kill_after_s`: seconds after the second commit at which the worker is killed."""
    place = Place(folder, held_from=1 << 40)
    place.write()
    ended, commits = threading.Event(), list[float]()
    begun = time.monotonic()

    def watch() -> None:
        step, killed = 0, False
        while not ended.wait(POLL_S):
            kept = latest_committed(place.run_folder)
            if kept and kept.step > step:
                step = kept.step
                commits.append(time.monotonic() - begun)
            if kill_after_s is not None and not killed and len(commits) == 2:
                time.sleep(kill_after_s)
                killed = kill(training_workers(os.getpid())) == 1
                assert killed, "the run had ended before the kill"

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    place.train(recipe_of(steps, checkpoint_every=CHECKPOINT_EVERY), place.new_run())
    wall_s = time.monotonic() - begun
    ended.set()
    watcher.join()
    return Timed(wall_s, tuple(commits))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one pair of short runs instead of five")
    quick = parser.parse_args().quick
    pairs, steps = (1, 5 * CHECKPOINT_EVERY) if quick else (5, 10 * CHECKPOINT_EVERY)
    draw = random.Random(0)
    session.start("local")
    lost, allowed = [], []
    print(f"{'undisturbed s':>13} {'interval s':>10} {'start s':>8} {'killed s':>9} {'lost s':>7}")
    with tempfile.TemporaryDirectory() as name:
        timed(Path(name) / "warm", 2 * CHECKPOINT_EVERY)
        for number in range(pairs):
            calm = timed(Path(name) / f"calm-{number}", steps)
            moment = draw.uniform(0.0, calm.interval_s)
            struck = timed(Path(name) / f"killed-{number}", steps, moment)
            lost.append(struck.wall_s - calm.wall_s)
            allowed.append(calm.interval_s + calm.start_s)
            print(
                f"{calm.wall_s:13.1f} {calm.interval_s:10.2f} {calm.start_s:8.2f} {struck.wall_s:9.1f} {lost[-1]:7.1f}",
                flush=True,
            )
    session.stop()
    value, target = median(lost), median(allowed)
    print(f"resume_lost_s value={value:.1f} target=<={target:.1f}")
    sys.exit(0 if value <= target else 1)


if __name__ == "__main__":
    main()
