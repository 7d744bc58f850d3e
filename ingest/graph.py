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

import pyarrow as pa
import ray
import ray.data
from ray.data import ActorPoolStrategy, Dataset

from infra import objects
from infra.errors import StorageError, UserError, told
from infra.session import plan_cpus
from ingest.settings import Ingest
from ingest.sources.source import InputShard, Source
from ingest.stores.ledger import Ledger, Line
from ingest.work import Listener, Maker, Outcome, Task, task_rows

_MAX_BLOCKS = 2_000  # more blocks of plan cost Ray more than they give
_ASK_EVERY_S = 10.0


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


Progress = StreamSummary
"""Where one stream stands; given after every committed shard."""


def ingest(
    sources: Sequence[Source],
    settings: Ingest,
    store: str,
    progress: Callable[[Progress], None] | None = None,
) -> Summary:
    """Bring every input shard that is not committed yet into the store. Running again does what is left.

    Raises UserError: storage that fails, a list without its columns, a store made with other settings.
    """
    started = time.monotonic()
    tasks, streams = _plan(sources, settings, store)
    report = progress or (lambda stands: None)
    for stands in streams.values():
        report(stands)
    if tasks:
        for outcome in _run(tasks, tuple(sources), settings, store):
            streams[outcome.stream] = _add(streams[outcome.stream], outcome)
            report(streams[outcome.stream])
    return Summary(tuple(streams.values()), time.monotonic() - started)


def _plan(
    sources: Sequence[Source], settings: Ingest, store: str
) -> tuple[list[Task], dict[str, StreamSummary]]:
    """What is left to do, and where each stream stands."""
    tasks: list[Task] = []
    streams: dict[str, StreamSummary] = {}
    for number, source in enumerate(sources):
        committed = Ledger(store, source.stream).committed()
        shards = source.shards(settings.rows_per_shard)
        _check(store, source, settings, shards, committed)
        tasks += [Task(number, shard) for shard in shards if shard.hash not in committed]
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
    tasks: Sequence[Task], sources: tuple[Source, ...], settings: Ingest, store: str
) -> Iterator[Outcome]:
    """Outcomes of the tasks as their shards are committed."""
    spoken = [task for task in tasks if sources[task.source].narrated]
    silent = [task for task in tasks if not sources[task.source].narrated]
    actors = _actors(settings, bool(spoken))
    ready = _tasks(silent) if silent else None
    if spoken:
        heard = _tasks(spoken).map_batches(
            _Actor,
            fn_constructor_args=(Listener(sources, settings),),
            compute=_pool(settings.speech.min_actors, actors.speech, len(spoken)),
            batch_size=None,
            batch_format="pyarrow",
            num_cpus=actors.cpus,
            num_gpus=actors.speech_gpus or None,
        )
        ready = heard if ready is None else ready.union(heard)
    assert ready is not None, "there is something to do"
    outcomes = ready.map_batches(
        _Actor,
        fn_constructor_args=(Maker(sources, settings, store),),
        compute=_pool(actors.decode, actors.decode, len(tasks)),
        batch_size=None,
        batch_format="pyarrow",
        num_cpus=actors.cpus,
    )
    with told(), _outages_told([tasks[0].shard.uri, store]):
        for row in outcomes.iter_rows():
            yield Outcome(**json.loads(row["outcome"]))


class _Actor:
    """What Ray keeps alive between shards: its process holds the decoding child and the speech model."""

    def __init__(self, work: Callable[[pa.Table], Iterator[pa.Table]]) -> None:
        self._work = work

    def __call__(self, tasks: pa.Table) -> Iterator[pa.Table]:
        return self._work(tasks)


@dataclass(frozen=True)
class _Actors:
    """Pool sizes, and what one actor declares to Ray."""

    speech: int
    decode: int
    cpus: float
    speech_gpus: float


def _actors(settings: Ingest, spoken: bool) -> _Actors:
    """Speech and decoding actors that leave a CPU to everything else."""
    resources = ray.cluster_resources()
    plan = plan_cpus(resources.get("CPU", 1.0), streams=2)
    speech = settings.speech.max_actors if spoken else 0
    decode = settings.decode_actors or max(1, plan.readers - speech)
    gpus = settings.speech.num_gpus if resources.get("GPU") else 0.0
    return _Actors(speech, decode, plan.reader, gpus)


def _pool(smallest: int, largest: int, num_tasks: int) -> ActorPoolStrategy:
    """A pool that never has more actors than tasks."""
    largest = min(largest, num_tasks)
    return ActorPoolStrategy(min_size=min(smallest, largest), max_size=largest)


def _tasks(tasks: Sequence[Task]) -> Dataset:
    """Tasks as a dataset, one block each up to the limit."""
    texts = [task.to_json() for task in tasks]
    size = -(-len(texts) // _MAX_BLOCKS)
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
