"""Clips for training straight from their sources: what ingest does to them, and no shards written.

    one actor: turn after turn -> speech actors -> decoding actors -> clips in the order of the turns, numbered -> units

How many clips an input shard gives is only known once they are made. Whoever makes them writes that down before they
leave, as a ledger of its own, so that a run that goes on begins with the input shard in which it stopped.
"""

import itertools
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import ray
import ray.data
from ray import ObjectRef
from ray.data import ActorPoolStrategy, Dataset

from infra import objects
from infra.cpus import CpuPlan
from infra.errors import UserError
from ingest.cluster.pools import alive, plan_pools
from ingest.cluster.units import MAX_BLOCKS, in_units, settled
from ingest.order.input_shards import ShardOrder
from ingest.order.rows import Rows, UnitWork
from ingest.order.windows import STREAM_SCHEMA
from ingest.plan import ShardTask
from ingest.records import stable_uid
from ingest.settings import Ingest, Pool
from ingest.source import Source
from ingest.stages.shard import Feeder, Listener, Maker, task_rows
from ingest.stores.ledger import Ledger


@dataclass(frozen=True)
class LiveStream:
    """The clips that sources give, in a fixed endless order: every input shard once an epoch.

    What is known of them is kept below STORE/STREAM/live, and no clips are: how many each input shard gave, and
    those set aside with the reason.
    """

    store: str
    stream: str
    sources: tuple[Source, ...]
    settings: Ingest

    def __call__(self, rows: Rows, work: UnitWork = UnitWork(tasks=1)) -> Dataset:
        """Rows of the order, as `ingest.cluster.stored.StoredStream` gives them.

        Its actors are as many as `work.tasks` and share CPUs with them; each declares half of `work.task_cpus`, since
        Ray Data does not know of them and believes that it has the whole. UserError for sources without input shards
        and pools that the cluster has no room for.
        """
        size = rows.unit * -(-rows.count // (rows.unit * MAX_BLOCKS))
        stop = rows.first + rows.count
        cuts = [{"first": row, "count": min(size, stop - row)} for row in range(rows.first, stop, size)]
        planned = self._tasks()
        record = Ledger(self.record, self.stream)
        maker = Maker(self.sources, self.settings, self.record)
        feeder = Feeder(maker, ShardOrder(len(planned), rows.seed), work.choice)
        speech, decode = self.pools(work.tasks, work.task_cpus)
        numbered = ray.data.from_items(cuts, override_num_blocks=max(1, len(cuts))).map_batches(
            _Numbered,
            fn_constructor_args=(planned, record, feeder, speech, decode),
            compute=ActorPoolStrategy(size=1),
            batch_size=None,
            batch_format="pyarrow",
            num_cpus=0,  # it waits for those that work
        )
        dataset = in_units(numbered, rows.unit, [work.prepare] if work.prepare else [], work)
        return settled(dataset)

    def digest(self) -> str:
        """Names what decides the order and the clips: the input shards and the settings."""
        return stable_uid(self._settings, *(task.shard.hash for task in self._tasks()))

    def pools(self, tasks: int, task_cpus: float) -> tuple[Pool, Pool]:
        """The speech and the decoding actors, `max_actors` of each: all start at once and stay.

        Speech has as many as ingest would let it grow to (none without narrated sources), decoding what is left.
        """
        spoken = any(source.narrated for source in self.sources)
        planned = plan_pools(alive(ray.nodes()), self.settings.pools, spoken, task_cpus / 2, tasks)
        speech = replace(planned.speech, max_actors=planned.speech.max_actors * spoken)
        return speech, replace(planned.decode, max_actors=planned.decode.min_actors)

    @property
    def record(self) -> str:
        """A store with a ledger and a quarantine only; other settings have one of their own."""
        return objects.join(self.store, self.stream, "live", self._settings)

    @property
    def _settings(self) -> str:
        return stable_uid(*sorted({self.settings.digest(source.narrated) for source in self.sources}))

    def _tasks(self) -> list[ShardTask]:
        rows = self.settings.rows_per_shard
        tasks = [
            ShardTask(number, shard)
            for number, source in enumerate(self.sources)
            for shard in source.shards(rows)
        ]
        if not tasks:
            raise UserError(f"stream {self.stream!r}: its sources hold no media")
        return tasks


def check_room(streams: Sequence[LiveStream], plan: CpuPlan, workers: int, worker_gpus: float) -> None:
    """UserError where training workers and the actors of all these streams would wait for each other for ever."""
    nodes, share = alive(ray.nodes()), plan.readers_of(len(streams))
    pools = [pool for stream in streams for pool in stream.pools(share, plan.reader)]
    cpus, gpus = (
        sum(getattr(pool, name) * pool.max_actors for pool in pools) for name in ("num_cpus", "num_gpus")
    )
    units = len(streams)  # preparing a stream's units takes up to a whole CPU
    total = sum(node.num_cpus for node in nodes) - plan.validation
    _check("CPUs", total, workers, plan.worker, cpus, units)
    _check("GPUs", sum(node.num_gpus for node in nodes), workers, worker_gpus, gpus, 0)


def _check(unit: str, total: float, workers: int, each: float, held: float, kept: int) -> None:
    if workers * each + held + kept <= total + 1e-9:
        return
    spare = f", {kept} must be left to Ray Data's own tasks" if kept else ""
    raise UserError(
        f"training from the sources would wait for ever: {workers} training workers take {workers * each:g} {unit} "
        f"and the speech and decoding actors {held:g}{spare}, and the cluster has {total:g}; lower launch.workers or "
        "ingest.pools, or ingest first and train without --stream"
    )


class _Numbered:
    """Rows of plan to rows of clips. It keeps what it has begun, so that the next rows of the plan go on from there."""

    def __init__(
        self, tasks: Sequence[ShardTask], record: Ledger, feeder: Feeder, speech: Pool, decode: Pool
    ) -> None:
        self._tasks, self._record, self._order = tasks, record, feeder.order
        maker = feeder.maker
        self._narrated = [source.narrated for source in maker.sources]
        self._listeners = _Actors(Listener(maker.sources, maker.settings), speech)
        self._feeders = _Actors(feeder, decode)
        self._ahead = speech.max_actors + 2 * decode.max_actors
        self._row = -1
        self._tables: Iterator[pa.Table] = iter(())
        self._held = STREAM_SCHEMA.empty_table()

    def __call__(self, cuts: pa.Table) -> Iterator[pa.Table]:
        for cut in cuts.to_pylist():
            row, stop = cut["first"], cut["first"] + cut["count"]
            if row != self._row:  # the first rows of the plan, or some that Ray asks for again
                self._tables, self._held = self._from(row), STREAM_SCHEMA.empty_table()
            while row < stop:
                if not self._held.num_rows:
                    self._held = next(self._tables)
                rows = self._held.slice(0, stop - row)
                self._held = self._held.slice(rows.num_rows)
                row = self._row = row + rows.num_rows
                yield rows

    def _from(self, first_row: int) -> Iterator[pa.Table]:
        """The rows from this one on, an input shard at a time."""
        lines = self._record.committed()
        counts = [
            lines[task.shard.hash].num_clips if task.shard.hash in lines else None for task in self._tasks
        ]
        first_turn, row = self._order.start(first_row, counts)
        for turn, clips in self._made(first_turn):
            yield _numbered(clips, row, self._order.epoch(turn)).slice(max(0, first_row - row))
            row += clips.num_rows

    def _made(self, first_turn: int) -> Iterator[tuple[int, pa.Table]]:
        """Turns in their order with their clips; some are made ahead. UserError where a whole epoch gives none."""
        waiting: deque[ObjectRef[pa.Table]] = deque()
        empty = 0
        for turn in itertools.count(first_turn):
            while len(waiting) < self._ahead:
                waiting.append(self._begin(turn + len(waiting)))
            clips = ray.get(waiting.popleft())
            empty = 0 if clips.num_rows else empty + 1
            if empty == self._order.num_shards:
                raise UserError(
                    f"stream {self._record.stream!r}: none of its {empty} input shards gives a clip; `reelscript "
                    "ingest` and `reelscript quarantine` show why"
                )
            yield turn, clips

    def _begin(self, turn: int) -> "ObjectRef[pa.Table]":
        task = self._tasks[self._order.shard(turn)]
        rows: Any = task_rows([task.to_json()], [None])
        if self._narrated[task.source]:
            rows = self._listeners.give(rows)
        return self._feeders.give(rows, turn)


def _numbered(clips: pa.Table, row: int, epoch: int) -> pa.Table:
    num_rows = clips.num_rows
    columns = [np.arange(row, row + num_rows), np.full(num_rows, epoch), np.ones(num_rows, bool)]
    return pa.Table.from_arrays([*clips.columns, *map(pa.array, columns)], schema=STREAM_SCHEMA)


class _ShardActor:
    """What Ray keeps alive between shards: its process holds the decoding child or the speech model."""

    def __init__(self, work: Any) -> None:
        self._work = work

    def run(self, *given: Any) -> pa.Table:
        (done,) = self._work(*given)
        return done


class _Actors:
    """A pool whose work goes to whoever has least to do. They end with the process that made them."""

    def __init__(self, work: Listener | Feeder, pool: Pool) -> None:
        actor: Any = ray.remote(_ShardActor)
        start = partial(
            actor.options,
            num_cpus=pool.num_cpus,
            num_gpus=pool.num_gpus or None,
            memory=pool.memory_mb * 2**20 or None,
            max_restarts=-1,
            max_task_retries=-1,
        )
        self._actors = [start().remote(work) for _ in range(pool.max_actors)]
        self._begun: list[list[ObjectRef[pa.Table]]] = [[] for _ in self._actors]

    def give(self, *work: Any) -> "ObjectRef[pa.Table]":
        """Have it done by one of them, when its turn comes."""
        self._begun = [_unfinished(refs) for refs in self._begun]
        least = min(range(len(self._actors)), key=lambda number: len(self._begun[number]))
        ref: ObjectRef[pa.Table] = self._actors[least].run.remote(*work)
        self._begun[least].append(ref)
        return ref


def _unfinished(refs: "list[ObjectRef[pa.Table]]") -> "list[ObjectRef[pa.Table]]":
    return ray.wait(refs, num_returns=len(refs), timeout=0, fetch_local=False)[1] if refs else []
