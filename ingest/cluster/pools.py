"""Actor pools that share a cluster: what the recipe leaves open is worked out; a plan that would hang is refused."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from infra.errors import UserError
from ingest.settings import Pool, Pools

_SETTINGS = {"CPUs": "num_cpus", "GPUs": "num_gpus", "MiB": "memory_mb"}


@dataclass(frozen=True)
class Node:
    """What one machine declares to Ray."""

    num_cpus: float
    num_gpus: float = 0.0
    memory_mb: float = 0.0


def alive(nodes: Sequence[Mapping[str, Any]]) -> list[Node]:
    """The machines that are up, from what Ray says of each."""
    declared = [node["Resources"] for node in nodes if node["Alive"]]
    return [
        Node(has.get("CPU", 0.0), has.get("GPU", 0.0), has.get("memory", 0.0) / 2**20) for has in declared
    ]


def plan_pools(nodes: Sequence[Node], asked: Pools, spoken: bool, cpus: float, whole_cpus: int) -> Pools:
    """Pools with every number filled in, for a graph with or without a speech stage.

    `cpus`: what an actor declares that does not say; `whole_cpus`: those that all actors may use. Speech takes up to
    half of them where there is work for it, decoding what is left. UserError where the smallest pools do not fit.
    """
    speech, decode = (_declared(pool, nodes, cpus) for pool in (asked.speech, asked.decode))
    if spoken:
        speech = _sized(speech, nodes, 1, whole_cpus / 2)
    fewest, most = (count * _weight(speech) * spoken for count in (speech.min_actors, speech.max_actors))
    decode = _sized(decode, nodes, whole_cpus - most, whole_cpus - fewest)
    planned = {"speech": speech, "decode": decode} if spoken else {"decode": decode}
    for name, pool in planned.items():
        _check_room(name, pool, nodes)
    _check_sums(planned, nodes)
    return Pools(speech, decode)


def _declared(pool: Pool, nodes: Sequence[Node], cpus: float) -> Pool:
    gpus = pool.num_gpus if any(node.num_gpus for node in nodes) else 0.0
    return replace(pool, num_cpus=pool.num_cpus or cpus, num_gpus=gpus)


def _sized(pool: Pool, nodes: Sequence[Node], least_cpus: float, most_cpus: float) -> Pool:
    """The pool with both sizes: as asked, else as many actors as these whole CPUs and the nodes have room for."""
    least, most = (
        max(1, min(int(share / _weight(pool)), _room(pool, nodes))) for share in (least_cpus, most_cpus)
    )
    largest = pool.max_actors or max(pool.min_actors, most)
    return replace(pool, min_actors=pool.min_actors or min(least, largest), max_actors=largest)


def _weight(pool: Pool) -> float:
    """CPUs that one actor keeps busy. On small machines it declares less than that, so that Ray starts it."""
    return max(1.0, pool.num_cpus)


def _room(pool: Pool, nodes: Sequence[Node]) -> int:
    """Actors of a pool that an otherwise idle cluster holds."""
    return sum(_room_on(pool, node) for node in nodes)


def _room_on(pool: Pool, node: Node) -> int:
    rooms = [node.num_cpus / pool.num_cpus]
    if pool.num_gpus:  # a fraction lies on one GPU, never on two
        whole = pool.num_gpus >= 1
        rooms.append(
            node.num_gpus / pool.num_gpus if whole else int(node.num_gpus) * int(1 / pool.num_gpus + 1e-9)
        )
    if pool.memory_mb:
        rooms.append(node.memory_mb / pool.memory_mb)
    return int(min(rooms) + 1e-9)


def _needs(pool: Pool) -> dict[str, float]:
    """What one actor declares, by unit."""
    return {"CPUs": pool.num_cpus, "GPUs": pool.num_gpus, "MiB": float(pool.memory_mb)}


def _has(node: Node) -> dict[str, float]:
    return {"CPUs": node.num_cpus, "GPUs": node.num_gpus, "MiB": node.memory_mb}


def _check_room(name: str, pool: Pool, nodes: Sequence[Node]) -> None:
    room = _room(pool, nodes)
    if room >= pool.min_actors:
        return
    needs = {unit: amount for unit, amount in _needs(pool).items() if amount}
    largest = {unit: max(_has(node)[unit] for node in nodes) for unit in needs}
    wanted, most = (" and ".join(f"{n:g} {unit}" for unit, n in each.items()) for each in (needs, largest))
    where = f"the largest of {len(nodes)} nodes has {most}"
    if room:
        raise UserError(
            f"ingest.pools.{name} starts {pool.min_actors} actors of {wanted} each and the cluster has room for "
            f"{room} ({where}); lower ingest.pools.{name}.min_actors"
        )
    over = [unit for unit in needs if needs[unit] > largest[unit]] or list(needs)
    lower = " and ".join(f"ingest.pools.{name}.{_SETTINGS[unit]}" for unit in over)
    raise UserError(f"one actor of ingest.pools.{name} needs {wanted} on one node and {where}; lower {lower}")


def _check_sums(planned: Mapping[str, Pool], nodes: Sequence[Node]) -> None:
    """Each pool fits alone; do they fit together, and leave a CPU to Ray Data's own tasks?"""
    for unit, setting in _SETTINGS.items():
        total = sum(_has(node)[unit] for node in nodes)
        kept = min(1.0, total / 2) if unit == "CPUs" else 0.0
        needs = {name: pool.min_actors * _needs(pool)[unit] for name, pool in planned.items()}
        if sum(needs.values()) + kept <= total + 1e-9:
            continue
        shares = " and ".join(
            f"{name} {pool.min_actors} x {_needs(pool)[unit]:g}" for name, pool in planned.items()
        )
        spare = f", {kept:g} must be left to Ray Data's own tasks" if kept else ""
        heaviest = max(needs, key=lambda name: needs[name])
        raise UserError(
            f"ingest would wait for ever: its smallest pools need {sum(needs.values()):g} {unit} ({shares}){spare}, "
            f"and the cluster has {total:g}; lower ingest.pools.{heaviest}.min_actors or .{setting}"
        )
