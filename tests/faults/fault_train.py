"""Training whose workers, driver and nodes are killed at random: it ends like a calm run, to the bit.

    python -m tests.faults.fault_train [--quick]

Three nodes on this machine (`ray.cluster_utils.Cluster`): the first without CPUs, where the driver and Train's
controller are, and two that can each hold the worker and its readers. A blow falls a drawn time after a checkpoint was
committed: SIGKILL to the worker, to the driver (which is started again), or to the worker's node with all its
processes (a new one joins).
"""

import argparse
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import ray
import torch
from ray.cluster_utils import Cluster
from safetensors.torch import load_file

from infra import session
from tests.faults.fault_node import kill_node, raylet
from tests.faults.processes import below, kill
from tests.ingest.clips import synthetic_clip
from tests.trainers.drivers import NUM_CLIPS, Place, recipe_of, wait_until
from tests.trainers.tiny import plain_batches
from trainers.checkpoints.run_folder import checkpoint_name, latest_committed
from trainers.loop.trace import steps_using
from trainers.loop.train import build_learner, scheduled, train

CHECKPOINT_EVERY = 4
WORKER = "ray::RayTrainWorker"


class Machines:
    """The cluster, its nodes that can hold a worker, and the driver."""

    num_nodes = 2
    cpus_of_a_node = 4
    workers_wanted = "1"

    def __init__(self, place: Place, steps: int) -> None:
        self.cluster = Cluster(
            initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False}
        )
        self.place, self.steps = place, steps
        self.nodes: list[Any] = [self._new_node() for _ in range(self.num_nodes)]
        self.cluster.wait_for_nodes()
        session.start(self.cluster.address)
        self.driver = self._new_driver()

    def _new_node(self) -> Any:
        return self.cluster.add_node(num_cpus=self.cpus_of_a_node, object_store_memory=150 * 2**20)

    def join_node(self) -> None:
        """One more node."""
        self.nodes.append(self._new_node())

    def _new_driver(self) -> "subprocess.Popen[bytes]":
        return self.place.train_elsewhere(self.steps, self.workers_wanted)

    def committed(self) -> int:
        """Step of the newest committed checkpoint."""
        kept = latest_committed(self.place.run_folder)
        return kept.step if kept else 0

    def workers(self, node: Any) -> list[int]:
        """Training workers of a node."""
        return [process.pid for process in below(raylet(node)) if process.name.startswith(WORKER)]

    def _host(self) -> Any:
        """The node with the worker; waits for one, since a restart takes its time."""
        wait_until(lambda: any(self.workers(node) for node in self.nodes))
        return next(node for node in self.nodes if self.workers(node))

    def strike(self, what: str) -> int:
        """Kill; how many processes were killed."""
        if what == "worker":
            return kill(self.workers(self._host()))
        if what == "driver":
            killed = kill([self.driver.pid])
            self.driver.wait()
            wait_until(lambda: not any(self.workers(node) for node in self.nodes))
            self.driver = self._new_driver()
            return killed
        host = self._host()
        self.nodes.remove(host)
        killed = kill_node(host)
        self.join_node()
        return killed

    def blow(self, what: str, after_s: float) -> bool:
        """Strike that long after the next commit; False where the run had ended before."""
        before = self.committed()
        wait_until(lambda: self.committed() > before)
        if self.committed() == self.steps:
            return False
        time.sleep(after_s)
        killed = self.strike(what)
        print(f"after step {self.committed():4} was kept: the {what}, {killed} processes", flush=True)
        return killed > 0

    def close(self) -> None:
        """End everything."""
        kill([self.driver.pid])
        session.stop()
        self.cluster.shutdown()


def calm_weights(place: Place, steps: int) -> dict[str, torch.Tensor]:
    """Those of the same training in this process alone."""
    torch.set_num_threads(1)
    recipe = recipe_of(steps)
    learner = build_learner(recipe, 0, torch.device("cpu"), None, None)
    sources = [plain_batches(place.store, recipe, index) for index in (0, 1)]
    batches = scheduled(recipe.stages[0], recipe.seed, 0, sources)
    train(learner, batches, lambda *_: None, lambda *_: None, str(place.folder / "calm"))
    return dict(learner.task.model.state_dict())


def uses(folder: str) -> list[tuple[int, str, str]]:
    """Which clips every step used."""
    return sorted(steps_using(folder, {synthetic_clip(number).uid for number in range(NUM_CLIPS)}))


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one blow of each kind")
    quick = parser.parse_args().quick
    draw = random.Random(0)
    kinds = ["worker", "driver", "node"] * (1 if quick else 4)
    if not quick:
        draw.shuffle(kinds)
    steps = 10 * CHECKPOINT_EVERY * (len(kinds) + 1)
    with tempfile.TemporaryDirectory() as name:
        place = Place(Path(name), held_from=1 << 40)
        place.write()
        machines = Machines(place, steps)
        try:
            dealt = sum(machines.blow(kind, draw.uniform(0.0, 0.3)) for kind in kinds)
            ended = machines.driver.wait(600.0)
        finally:
            machines.close()
        stored = Path(place.run_folder) / checkpoint_name(steps) / "model.safetensors"
        weights, calm = load_file(stored), calm_weights(place, steps)
        same = ended == 0 and all(torch.equal(value, weights[name]) for name, value in calm.items())
        same_clips = uses(place.run_folder) == uses(str(place.folder / "calm"))
    assert not ray.is_initialized()
    print(f"{steps} steps, {dealt} blows")
    print(f"fault_train_same_weights value={int(same)} target=1")
    print(f"fault_train_same_clips value={int(same_clips)} target=1")
    print(f"fault_train_blows value={dealt} target={len(kinds)}")
    sys.exit(0 if same and same_clips and dealt == len(kinds) else 1)


if __name__ == "__main__":
    main()
