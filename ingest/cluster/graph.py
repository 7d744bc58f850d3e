"""Sources to shards: the ingest graph under Ray Data.

    narrated shards -> Listener (speech actors) -+
                                                 +-> Maker (decoding actors) -> outcomes -> driver
    other shards --------------------------------+

A row is an input shard, and no bytes of media travel: each actor reads what it needs, and the Maker writes.
"""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import pyarrow as pa
import ray
import ray.data
from ray.data import ActorPoolStrategy, Dataset
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from infra import objects
from infra.cpus import plan_cpus
from infra.errors import StorageError, UserError, as_user_errors
from ingest.cluster.pools import alive, plan_pools
from ingest.cluster.units import MAX_BLOCKS
from ingest.settings import Ingest, Pool, Pools
from ingest.source import InputShard, Source, shards_of
from ingest.stages.shard import Listener, Maker, Outcome, Report, ShardTask, task_rows
from ingest.stores.ledger import Ledger, Line
from ingest.tally import ShardProgress, StageStands, Tally

_ASK_EVERY_S = 10.0
_TELL_EVERY_S = 1.0


@dataclass(frozen=True)
class StreamSummary:
    """One stream of an ingest. `rejects` counts by "stage/reason"; figures cover this run's shards and earlier ones."""

    stream: str
    shards_total: int
    shards_skipped: int
    shards_written: int = 0
    num_media: int = 0
    num_clips: int = 0
    rejects: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Summary:
    """What an ingest did."""

    streams: tuple[StreamSummary, ...]
    seconds: float

    @property
    def nothing_to_do(self) -> bool:
        """Every input shard was committed before."""
        return all(stream.shards_written == 0 for stream in self.streams)


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
    tasks, streams = _plan(sources, settings, store)
    report = progress or (lambda stands: None)
    for stands in streams.values():
        report(stands)
    if tasks:
        for outcome in _run(tasks, tuple(sources), settings, store, watch):
            streams[outcome.stream] = _add(streams[outcome.stream], outcome)
            report(streams[outcome.stream])
    return Summary(tuple(streams.values()), time.monotonic() - started)


def _plan(
    sources: Sequence[Source], settings: Ingest, store: str
) -> tuple[list[ShardTask], dict[str, StreamSummary]]:
    """What is left to do, and where each stream stands."""
    tasks: list[ShardTask] = []
    streams: dict[str, StreamSummary] = {}
    for number, source in enumerate(sources):
        committed = Ledger(store, source.stream).committed()
        slots = [line.slot for line in committed.values() if line.source == source.name]
        shards = shards_of(source, settings.rows_per_shard, slots)
        _check(store, source, settings, shards, committed)
        tasks += [ShardTask(number, shard) for shard in shards if shard.hash not in committed]
        done = [committed[shard.hash] for shard in shards if shard.hash in committed]
        stands = streams.get(source.stream, StreamSummary(source.stream, 0, 0))
        streams[source.stream] = replace(
            stands,
            shards_total=stands.shards_total + len(shards),
            shards_skipped=stands.shards_skipped + len(done),
            num_media=stands.num_media + sum(line.num_media for line in done),
            num_clips=stands.num_clips + sum(line.num_clips for line in done),
            rejects=_sum(stands.rejects, *(line.rejects for line in done)),
        )
    return tasks, streams


def _check(
    store: str, source: Source, settings: Ingest, shards: Sequence[InputShard], committed: Mapping[str, Line]
) -> None:
    """Refuse to mix settings in one stream, and to add an archive's new content beside its old."""
    wanted = settings.digest(source.narrated)
    others = [line for line in committed.values() if line.source == source.name and line.settings != wanted]
    if others:
        raise UserError(
            f"{store}: stream {source.stream!r} holds {len(others)} shards made with other ingest settings; "
            "use another store, or the settings of that run"
        )
    taken = {line.slot: line for line in committed.values()}
    changed = [shard for shard in shards if shard.hash not in committed and shard.slot in taken]
    if changed:
        raise UserError(
            f"{store}: stream {source.stream!r} holds {taken[changed[0].slot].name} of {source.name} with other "
            f"content than {changed[0].uri} has now; use another store, or give the new rows a list of their own"
        )


def _add(stands: StreamSummary, outcome: Outcome) -> StreamSummary:
    return replace(
        stands,
        shards_written=stands.shards_written + 1,
        num_media=stands.num_media + outcome.num_media,
        num_clips=stands.num_clips + outcome.num_clips,
        rejects=_sum(stands.rejects, outcome.rejects),
    )


def _sum(*counts: Mapping[str, int]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for count in counts:
        total.update(count)
    return dict(sorted(total.items()))


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
