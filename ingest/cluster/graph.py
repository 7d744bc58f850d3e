"""Sources to shards: the ingest graph under Ray Data.

    narrated shards -> Listener (speech actors) -+
                                                 +-> Maker (decoding actors) -> outcomes -> driver
    other shards --------------------------------+

A row is an input shard, and no bytes of media travel: each actor reads what it needs, and the Maker writes.
"""

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Protocol

import pyarrow as pa
import ray
import ray.data
from ray.data import ActorPoolStrategy, Dataset
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from infra import objects
from infra.cpus import plan_cpus
from infra.errors import StorageError, as_user_errors
from ingest.cluster.pools import alive, plan_pools
from ingest.cluster.units import MAX_BLOCKS
from ingest.plan import Outcome, ShardTask, StreamSummary, Summary, add, plan
from ingest.settings import Ingest, Pool, Pools
from ingest.source import Source
from ingest.stages.shard import Listener, Maker, Report, task_rows
from ingest.tally import ShardProgress, StageStands, Tally

_ASK_EVERY_S = 10.0
_TELL_EVERY_S = 1.0


Watch = Callable[[Sequence[StageStands]], None]
"""Shown where the stages stand, once a second, from a thread of its own."""


def ingest(
    sources: Sequence[Source],
    settings: Ingest,
    store: str,
    progress: Callable[[StreamSummary], None] | None = None,
    watch: Watch | None = None,
) -> Summary:
    """Bring every input shard that is not committed yet into the store. Running again does what is left.

    `progress` is told where a stream stands after every committed shard. Raises UserError: storage that fails, a list
    without its columns, a store made with other settings, pools that the cluster has no room for.
    """
    started = time.monotonic()
    tasks, streams = plan(sources, settings, store)
    report = progress or (lambda stands: None)
    for stands in streams.values():
        report(stands)
    if tasks:
        for outcome in _run(tasks, tuple(sources), settings, store, watch):
            streams[outcome.stream] = add(streams[outcome.stream], outcome)
            report(streams[outcome.stream])
    return Summary(tuple(streams.values()), time.monotonic() - started)


def _run(
    tasks: Sequence[ShardTask],
    sources: tuple[Source, ...],
    settings: Ingest,
    store: str,
    watch: Watch | None,
) -> Iterator[Outcome]:
    """Outcomes of the tasks as their shards are committed."""
    spoken = [task for task in tasks if sources[task.source].narrated]
    silent = [task for task in tasks if not sources[task.source].narrated]
    pools = _pools(settings, bool(spoken))
    with _watched(watch, len(spoken), len(tasks)) as tally:
        ready = _tasks(silent) if silent else None
        if spoken:
            heard = _stage(_tasks(spoken), Listener(sources, settings), tally, pools.speech, len(spoken))
            ready = heard if ready is None else ready.union(heard)
        assert ready is not None, "there is something to do"
        outcomes = _stage(ready, Maker(sources, settings, store), tally, pools.decode, len(tasks))
        with as_user_errors(), _outages_told([tasks[0].shard.uri, store]):
            for row in outcomes.iter_rows():
                yield Outcome(**json.loads(row["outcome"]))


def _stage(tasks: Dataset, work: "_ShardStage", tally: Any, pool: Pool, num_tasks: int) -> Dataset:
    """A stage of the graph in a pool that never has more actors than tasks."""
    largest = min(pool.max_actors, num_tasks)
    return tasks.map_batches(
        _Actor,
        fn_constructor_args=(work, tally),
        compute=ActorPoolStrategy(min_size=min(pool.min_actors, largest), max_size=largest),
        batch_size=1,  # an input shard; on GPUs Ray Data wants a number
        batch_format="pyarrow",
        num_cpus=pool.num_cpus,
        num_gpus=pool.num_gpus or None,
        memory=pool.memory_mb * 2**20 or None,
    )


class _ShardStage(Protocol):
    """What a stage does with input shards."""

    def __call__(self, tasks: pa.Table, report: Report) -> Iterator[pa.Table]: ...


class _Actor:
    """What Ray keeps alive between shards: its process holds the decoding child and the speech model."""

    def __init__(self, work: _ShardStage, tally: Any) -> None:
        self._work, self._tally, self._told_s = work, tally, 0.0

    def __call__(self, tasks: pa.Table) -> Iterator[pa.Table]:
        return self._work(tasks, self._tell)

    def _tell(self, step: ShardProgress) -> None:
        """A shard's beginning and end, and now and then where it is between; nobody waits for the answer."""
        now_s = time.monotonic()
        if self._tally is None or (
            step.num_media and not step.finished and now_s < self._told_s + _TELL_EVERY_S
        ):
            return
        self._told_s = now_s
        self._tally.add.remote(step)


def _pools(settings: Ingest, spoken: bool) -> Pools:
    """Speech and decoding actors that leave a CPU to everything else."""
    nodes = alive(ray.nodes())
    plan = plan_cpus(sum(node.num_cpus for node in nodes), streams=2)
    return plan_pools(nodes, settings.pools, spoken, plan.reader, plan.readers)


@contextmanager
def _watched(watch: Watch | None, num_spoken: int, num_tasks: int) -> Iterator[Any]:
    """An actor beside this process that adds up what the stages tell, shown once a second; none for nobody."""
    if watch is None:
        yield None
        return
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    stages = {"speech": num_spoken, "decode": num_tasks} if num_spoken else {"decode": num_tasks}
    actor: Any = ray.remote(Tally)
    tally = actor.options(num_cpus=0, max_restarts=-1, scheduling_strategy=here).remote(stages)
    over = threading.Event()
    thread = threading.Thread(target=_show, args=(tally, watch, over), daemon=True)
    thread.start()
    try:
        yield tally
        over.set()
        thread.join()  # the last figures are shown before the end is
    finally:
        over.set()
        ray.kill(tally)


def _show(tally: Any, watch: Watch, over: threading.Event) -> None:
    last = False
    while not last:
        last = over.wait(_TELL_EVERY_S)
        with suppress(RayError):
            watch(ray.get(tally.stands.remote(), timeout=10 * _TELL_EVERY_S))


def _tasks(tasks: Sequence[ShardTask]) -> Dataset:
    """Tasks as a dataset, one block each up to the limit."""
    texts = [task.to_json() for task in tasks]
    size = -(-len(texts) // MAX_BLOCKS)
    cuts = [texts[start : start + size] for start in range(0, len(texts), size)]
    return ray.data.from_arrow([task_rows(cut, [None] * len(cut)) for cut in cuts])


@contextmanager
def _outages_told(uris: Sequence[str]) -> Iterator[None]:
    """While workers wait for S3 that is away, nothing is heard of them: this process asks too, and says so."""
    remote = [uri for uri in uris if objects.local_path(uri) is None]
    over = threading.Event()
    if remote:
        threading.Thread(target=_ask, args=(remote, over), daemon=True).start()
    try:
        yield
    finally:
        over.set()


def _ask(uris: Sequence[str], over: threading.Event) -> None:
    while not over.wait(_ASK_EVERY_S):
        for uri in uris:
            with suppress(StorageError):  # what is wrong for good ends the run through a worker
                objects.exists(uri)
