"""What an ingest has before it, and what it did: input shards, counted by stream. Needs neither Ray nor a decoder."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

from infra.errors import UserError
from ingest.settings import Ingest
from ingest.source import InputShard, Source, shards_of
from ingest.stores.ledger import Ledger, Line


@dataclass(frozen=True)
class ShardTask:
    """An input shard to be done, and of which source (by number)."""

    source: int
    shard: InputShard

    def to_json(self) -> str:
        """As it travels."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "ShardTask":
        """What `to_json` gave."""
        values = json.loads(text)
        return cls(**{**values, "shard": InputShard(**values["shard"])})


@dataclass(frozen=True)
class Outcome:
    """What became of one input shard. `rejects` counts by "stage/reason"."""

    stream: str
    shard: str
    num_media: int
    num_clips: int
    rejects: Mapping[str, int] = field(default_factory=dict)
    num_bytes: int = 0
    seconds: float = 0.0


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


def plan(
    sources: Sequence[Source], settings: Ingest, store: str
) -> tuple[list[ShardTask], dict[str, StreamSummary]]:
    """What is left to do, and where each stream stands. Raises UserError as `ingest.cluster.graph.ingest` does."""
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


def add(stands: StreamSummary, outcome: Outcome) -> StreamSummary:
    """The stream one input shard further."""
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
