"""One input shard's way through ingest, without Ray: what a speech actor and a decoding actor each do with it."""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import pyarrow as pa

from ingest.order.choice import Choice
from ingest.order.input_shards import ShardOrder
from ingest.plan import Outcome, ShardTask
from ingest.records import MEDIA_SCHEMA, REJECT_SCHEMA, Clip, Media, Reject, from_row, to_row, to_table
from ingest.settings import Ingest
from ingest.source import Source
from ingest.stages.chain import ClipMaker
from ingest.stages.filters import fitting
from ingest.stages.frames import limits
from ingest.stages.references import ReferencedFrames
from ingest.stages.transcribe import Transcribe
from ingest.stores.commit import ClipWriter, ShardCommit, ShardPlace
from ingest.stores.ledger import Line, Part
from ingest.tally import ShardProgress

# One row per input shard, so however Ray merges or splits blocks, a shard stays whole. No bytes of media travel.
TASK_SCHEMA = pa.schema(
    [
        ("task", pa.string()),
        ("media", pa.list_(pa.struct(list(MEDIA_SCHEMA)))),
        ("rejects", pa.list_(pa.struct(list(REJECT_SCHEMA)))),
    ]
)


Report = Callable[[ShardProgress], None]
"""Hears how far an actor is, after every medium."""


@dataclass(frozen=True)
class Listener:
    """Reads a shard of narrated media and has those without a transcript transcribed."""

    sources: tuple[Source, ...]
    settings: Ingest

    def __call__(self, tasks: pa.Table, report: Report = lambda progress: None) -> Iterator[pa.Table]:
        """Rows of tasks to rows with their media."""
        for text in tasks["task"].to_pylist():
            yield task_rows([text], [list(self._heard(ShardTask.from_json(text), report))])

    def _heard(self, task: ShardTask, report: Report) -> Iterator[Media | Reject]:
        chosen = self.settings
        transcribe = Transcribe(chosen.speech, limits(chosen.frames), fitting(chosen.filters))
        progress = ShardProgress("speech", task.shard.hash)
        report(progress)
        for item in transcribe(self.sources[task.source].read(task.shard)):
            progress = progress.plus([item])
            report(progress)
            yield item
        report(replace(progress, finished=True))


@dataclass(frozen=True)
class Maker:
    """Makes the clips of a shard and commits it."""

    sources: tuple[Source, ...]
    settings: Ingest
    store: str

    def __call__(self, tasks: pa.Table, report: Report = lambda progress: None) -> Iterator[pa.Table]:
        """Rows of tasks to rows of outcomes."""
        for row in tasks.to_pylist():
            outcome = self._outcome(row, report)
            yield pa.table({"outcome": [json.dumps(asdict(outcome))]})

    def commit(self, row: Mapping[str, Any], report: Report, writer: ClipWriter | None = None) -> Line:
        """A row of tasks done; `writer` takes the clips in the store's place."""
        task = ShardTask.from_json(row["task"])
        source, heard = self.sources[task.source], row["media"] is not None
        make = ClipMaker(self.settings, source.narrated)
        commit = ShardCommit(self._place(task, source), writer)
        progress = ShardProgress("decode", task.shard.hash)
        report(progress)
        for item in _travelled(row) if heard else source.read(task.shard):
            made = [item] if isinstance(item, Reject) else make(item)
            commit.add(made)
            if not (heard and isinstance(item, Reject)):  # the speech stage has told of those
                progress = progress.plus(made)
                report(progress)
        report(replace(progress, finished=True))
        return commit.finish()

    def _outcome(self, row: Mapping[str, Any], report: Report) -> Outcome:
        started = time.monotonic()
        line = self.commit(row, report)
        stream = self.sources[ShardTask.from_json(row["task"]).source].stream
        num_bytes = sum(part.num_bytes for part in line.parts)
        seconds = time.monotonic() - started
        return Outcome(stream, line.shard, line.num_media, line.num_clips, line.rejects, num_bytes, seconds)

    def _place(self, task: ShardTask, source: Source) -> ShardPlace:
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


@dataclass(frozen=True)
class Feeder:
    """Makes the clips of a shard and hands them on; what is committed is how many there were, and the rejects."""

    maker: Maker
    order: ShardOrder
    choice: Choice | None

    def __call__(self, tasks: pa.Table, turn: int) -> Iterator[pa.Table]:
        """A row of tasks to the clips of this turn, with the frames that its epoch takes."""
        (row,) = tasks.to_pylist()
        taken = _Taken(
            self.choice, ReferencedFrames(self.maker.settings.frames, self.choice), self.order.epoch(turn)
        )
        self.maker.commit(row, lambda progress: None, taken)
        rows = to_table(Clip, taken.clips)
        yield rows.take(pa.array(self.order.rows(turn, rows.num_rows), pa.int64()))


@dataclass
class _Taken:
    """Keeps clips with the frames that an epoch takes, clip by clip: so the others are let go at once."""

    choice: Choice | None
    referenced: ReferencedFrames
    epoch: int
    clips: list[Clip] = field(default_factory=list)

    def add(self, clip: Clip) -> None:
        self.clips.append(replace(clip, frames=tuple(self._frames(clip))))

    def finish(self) -> tuple[Part, ...]:
        return ()

    def _frames(self, clip: Clip) -> Sequence[bytes]:
        if not clip.frames:
            return self.referenced.of(clip, self.epoch)
        if self.choice is None:
            return clip.frames
        return [clip.frames[number] for number in self.choice(clip.uid, self.epoch, len(clip.frames))]


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
