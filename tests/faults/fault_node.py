"""Ingest on three nodes of which actors and a whole node are killed: it ends by itself, with the store of a calm run.

    python -m tests.faults.fault_node [--quick]

Three nodes on this machine (`ray.cluster_utils.Cluster`), each with a raylet and workers of its own. After some shards
every actor of the second node gets SIGKILL, later one of the third, then the third node with all its processes.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.cluster_utils import Cluster

from infra import session
from ingest.cluster.graph import ingest
from ingest.plan import StreamSummary
from tests.faults.ingests import contents, times_found, write_archives
from tests.faults.processes import below, kill

ACTOR = "ray::MapWorker"
"""How Ray names the process of an actor of Ray Data."""


@dataclass(frozen=True)
class Blow:
    """Something killed after `lines` shards were committed; `strike` returns how many processes it killed."""

    lines: int
    what: str
    strike: Callable[[], int]


class Blows:
    """Deals the blows as the shards are committed."""

    def __init__(self, blows: Sequence[Blow]) -> None:
        self._waiting = list(blows)
        self._committed: dict[str, int] = {}
        self.killed: list[tuple[str, int, int]] = []
        """What was killed, after how many shards, how many processes."""

    def at(self, stands: StreamSummary) -> None:
        """Called after every committed shard."""
        self._committed[stands.stream] = stands.shards_written
        lines = sum(self._committed.values())
        if self._waiting and lines >= self._waiting[0].lines:
            blow = self._waiting.pop(0)
            self.killed.append((blow.what, lines, blow.strike()))
            print(f"after {lines:3} shards: {blow.what}, {self.killed[-1][2]} processes killed", flush=True)


def raylet(node: Any) -> int:
    """The process of a node's raylet, from which all its workers descend."""
    return int(node.all_processes["raylet"][0].process.pid)


def actors(node: Any) -> list[int]:
    """The processes of a node's actors."""
    return [process.pid for process in below(raylet(node)) if process.name.startswith(ACTOR)]


def kill_actors(node: Any, count: int | None = None) -> int:
    """SIGKILL to a node's actors; waits until there are some, since the pool may be starting."""
    until = time.monotonic() + 60.0
    while not (found := actors(node)):
        assert time.monotonic() < until, "the node has no actors"
        time.sleep(0.05)
    return kill(found[:count])


def kill_node(node: Any) -> int:
    """SIGKILL to a node's raylet and everything that it started."""
    return kill([*(process.pid for process in below(raylet(node))), raylet(node)])


def three_nodes() -> tuple[Cluster, list[Any]]:
    """A cluster of three, joined by this process as the first node."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    nodes = [cluster.add_node(num_cpus=2, object_store_memory=200 * 2**20) for _ in range(2)]
    cluster.wait_for_nodes()
    session.start(cluster.address)
    return cluster, nodes


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one actor is killed")
    quick = parser.parse_args().quick
    cluster, (second, third) = three_nodes()
    blows = [
        Blow(3, "actors of the second node", lambda: kill_actors(second)),
        Blow(9, "one actor of the third node", lambda: kill_actors(third, 1)),
        Blow(15, "the third node", lambda: kill_node(third)),
    ]
    struck = Blows([Blow(3, "one actor", lambda: kill_actors(second, 1))] if quick else blows)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        archives = write_archives(folder, num_videos=31 if quick else 91)
        calm, killed = str(folder / "calm"), str(folder / "killed")
        ingest(archives.sources, archives.settings, calm)
        started = time.monotonic()
        ingest(archives.sources, archives.settings, killed, struck.at)
        print(f"{archives.num_shards} shards in {time.monotonic() - started:.0f} s")
        same, found = contents(calm) == contents(killed), times_found(killed)
    nodes = sum(bool(node["Alive"]) for node in ray.nodes())
    print(f"{nodes} nodes left")
    session.stop()
    cluster.shutdown()
    dealt, planned = len(struck.killed), 1 if quick else len(blows)
    doubled = sum(times > 1 for times in found.values())
    print(f"fault_node_blows value={dealt} target={planned}")
    print(f"fault_node_same_store value={int(same)} target=1")
    print(f"fault_node_doubled value={doubled} target=<=0")
    sys.exit(0 if same and doubled == 0 and dealt == planned else 1)


if __name__ == "__main__":
    main()
