"""An elastic training grows when a node joins and shrinks when one is killed: every clip still once an epoch.

    python -m tests.faults.fault_elastic

Nodes on this machine (`ray.cluster_utils.Cluster`): the first without CPUs, where driver and controller are, and one
with room for one worker and its readers. The rows are held back after a few steps; a second such node joins, Train's
monitor (once a minute) starts two workers from the last checkpoint, the rows pass, and once the two have committed a
step one of the nodes is killed with all its processes. What the steps used is read from `trace/`.
"""

import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.faults.fault_node import kill_node
from tests.faults.fault_train import Machines
from tests.trainers.cluster.test_launch import planned, uses
from tests.trainers.drivers import Place, recipe_of, wait_until

STEPS, HELD_FROM = 320, 20


class Growing(Machines):
    """One node that can hold a worker; others come and go."""

    num_nodes = 1
    cpus_of_a_node = 2
    workers_wanted = "1:2"

    def num_workers(self) -> int:
        """Training workers on all nodes."""
        return sum(len(self.workers(node)) for node in self.nodes)


def committed_by_two(place: Place) -> bool:
    """Whether the second of two workers has written what its steps used."""
    return any("rank-1" in file.name for file in Path(place.run_folder, "trace").glob("*"))


def main() -> None:
    """Run and print."""
    with tempfile.TemporaryDirectory() as name:
        place = Place(Path(name), HELD_FROM)
        place.write()
        machines = Growing(place, STEPS)
        try:
            wait_until(machines.committed)
            alone = machines.num_workers()
            machines.join_node()
            wait_until(lambda: machines.num_workers() == 2)
            print(
                f"after step {machines.committed():4} was kept: a node joined, {alone} worker became 2",
                flush=True,
            )
            place.release()
            wait_until(lambda: committed_by_two(place))
            print(f"after step {machines.committed():4} was kept: a node killed", flush=True)
            kill_node(machines.nodes.pop())
            ended = machines.driver.wait(600.0)
        finally:
            machines.close()
        recipe = recipe_of(STEPS, "1:2")
        same = Counter((stream, uid) for _, stream, uid in uses(place)) == planned(place, recipe)
    print(f"fault_elastic_same_clips value={int(same)} target=1")
    sys.exit(0 if same and ended == 0 else 1)


if __name__ == "__main__":
    main()
