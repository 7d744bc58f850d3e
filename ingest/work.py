"""One input shard's way through ingest, without Ray: what a speech actor and a decoding actor each do with it."""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import pyarrow as pa

from ingest.records import MEDIA_SCHEMA, REJECT_SCHEMA, Media, Reject, from_row, to_row
from ingest.settings import Ingest
from ingest.sources.source import InputShard, Source
from ingest.stages.frames import limits
from ingest.stages.run import ClipMaker
from ingest.stages.transcribe import Transcribe
from ingest.stores.commit import ShardPlace, commit_shard

# One row per input shard, so however Ray merges or splits blocks, a shard stays whole. No bytes of media travel.
TASK_SCHEMA = pa.schema(
    [
        ("task", pa.string()),
        ("media", pa.list_(pa.struct(list(MEDIA_SCHEMA)))),
        ("rejects", pa.list_(pa.struct(list(REJECT_SCHEMA)))),
    ]
)


@dataclass(frozen=True)
class Task:
    """An input shard to be done, and of which source (by number)."""

    source: int
    shard: InputShard

    def to_json(self) -> str:
        """As it travels."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Task":
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
class Listener:
    """Reads a shard of narrated media and has those without a transcript transcribed."""

    sources: tuple[Source, ...]
    settings: Ingest

    def __call__(self, tasks: pa.Table) -> Iterator[pa.Table]:
        """Rows of tasks to rows with their media."""
        transcribe = Transcribe(self.settings.speech, limits(self.settings.frames))
        for text in tasks["task"].to_pylist():
            task = Task.from_json(text)
            heard = list(transcribe(self.sources[task.source].read(task.shard)))
            yield task_rows([text], [heard])


@dataclass(frozen=True)
class Maker:
    """Makes the clips of a shard and commits it."""

    sources: tuple[Source, ...]
    settings: Ingest
    store: str

    def __call__(self, tasks: pa.Table) -> Iterator[pa.Table]:
        """Rows of tasks to rows of outcomes."""
        for row in tasks.to_pylist():
            outcome = self._make(Task.from_json(row["task"]), row)
            yield pa.table({"outcome": [json.dumps(asdict(outcome))]})

    def _make(self, task: Task, row: Mapping[str, Any]) -> Outcome:
        started = time.monotonic()
        source = self.sources[task.source]
        make = ClipMaker(self.settings, source.narrated)
        items = source.read(task.shard) if row["media"] is None else _travelled(row)
        line = commit_shard(
            self._place(task, source), ([i] if isinstance(i, Reject) else make(i) for i in items)
        )
        num_bytes = sum(part.num_bytes for part in line.parts)
        seconds = time.monotonic() - started
        return Outcome(
            source.stream, line.shard, line.num_media, line.num_clips, line.rejects, num_bytes, seconds
        )

    def _place(self, task: Task, source: Source) -> ShardPlace:
        return ShardPlace(
            store=self.store,
            stream=source.stream,
            shard=task.shard.hash,
            slot=task.shard.slot,
            source=source.name,
            name=task.shard.name,
            settings=self.settings.digest(source.narrated),
            row_group=self.settings.row_group,
        )


def task_rows(tasks: Sequence[str], items: Sequence[Sequence[Media | Reject] | None]) -> pa.Table:
    """Tasks as a table: with their media where those have been read already."""
    rows = [
        {
            "task": task,
            "media": None if found is None else [to_row(item) for item in found if isinstance(item, Media)],
            "rejects": None
            if found is None
            else [to_row(item) for item in found if isinstance(item, Reject)],
        }
        for task, found in zip(tasks, items, strict=True)
    ]
    return pa.Table.from_pylist(rows, schema=TASK_SCHEMA)


def _travelled(row: Mapping[str, Any]) -> Iterator[Media | Reject]:
    for media in row["media"]:
        yield from_row(Media, media)
    for reject in row["rejects"]:
        yield from_row(Reject, reject)
