"""`reelscript quarantine`: what was set aside by reason, one medium tried again, or all of them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from rich.table import Table

from infra.errors import UserError
from ingest.records import Clip, Media, Reject
from ingest.source import InputShard, Source, shards_of
from ingest.stages.chain import ClipMaker
from ingest.stages.filters import fitting
from ingest.stages.frames import limits
from ingest.stages.transcribe import Transcribe
from ingest.stores.ledger import Ledger, Line
from ingest.stores.quarantine import forget, rejects_by_shard
from pipeline.recipe import Recipe
from pipeline.run.ingest import ingest
from pipeline.run.recipe_run import running
from pipeline.terminal import tables
from pipeline.workspace import located, open_source


def quarantine(recipe: Recipe, command: str, only: str | None, retry: bool, reasons: Sequence[str]) -> None:
    """`reelscript quarantine`: the table; or one medium tried again; or all (of these reasons), as ingest would."""
    located_recipe, console = located(recipe), tables.terminal()
    if only is not None:
        for line in outcome_lines(*try_again(located_recipe, only)):
            console.print(line, markup=False, highlight=False, soft_wrap=True)
    elif retry:
        holders = shards_with_rejects(located_recipe, reasons)
        console.print(f"{sum(map(len, holders.values()))} input shards are made anew.", highlight=False)
        if holders:
            with running(recipe, command) as run:
                forget_shards(run.recipe, holders)
                ingest(run)
    elif aside := set_aside(located_recipe):
        console.print(table(aside))
        console.print()
        for title, how in (("One again", f"--only {aside[0].example.uid}"), ("All again", "--retry")):
            console.print(f"{title}  {command} {how}", highlight=False, markup=False, soft_wrap=True)
    else:
        console.print("Nothing was set aside.")


@dataclass(frozen=True)
class Aside:
    """Media of one stream set aside for one reason, and one of them."""

    stream: str
    reason: str
    count: int
    example: Reject


def set_aside(recipe: Recipe) -> list[Aside]:
    """Counts by stream and "stage/reason", largest first. One quarantine file is read for each."""
    found: list[Aside] = []
    for stream in streams(recipe):
        lines = list(Ledger(recipe.store, stream).committed().values())
        counts: dict[str, int] = {}
        holders: dict[str, Line] = {}
        for line in lines:
            for reason, count in line.rejects.items():
                counts[reason] = counts.get(reason, 0) + count
                holders.setdefault(reason, line)
        for reason, count in sorted(counts.items(), key=lambda item: -item[1]):
            ((_, rejects),) = rejects_by_shard(recipe.store, stream, [holders[reason]])
            found.append(Aside(stream, reason, count, next(r for r in rejects if _reason(r) == reason)))
    return found


def table(aside: Sequence[Aside]) -> Table:
    """A row per stream and reason."""
    shown = Table(title="Set aside", title_justify="left", box=None, padding=(0, 2))
    for name in ("stream", "stage/reason"):
        shown.add_column(name, style="bold" if name == "stream" else "")
    shown.add_column("media", justify="right")
    for name in ("one of them", "what it says"):
        shown.add_column(name, overflow="fold")
    for item in aside:
        cells = (item.stream, item.reason, f"{item.count:,}", item.example.uid)
        shown.add_row(*cells, item.example.detail.replace("[", r"\["))
    return shown


def shards_with_rejects(recipe: Recipe, reasons: Sequence[str]) -> dict[str, list[Line]]:
    """Committed input shards by stream that hold rejects: of these reasons ("missing" or "fetch/missing"), or any."""
    found: dict[str, list[Line]] = {}
    for stream in streams(recipe):
        for line in Ledger(recipe.store, stream).committed().values():
            if any(_asked(reason, reasons) for reason in line.rejects):
                found.setdefault(stream, []).append(line)
    return found


def forget_shards(recipe: Recipe, shards: Mapping[str, Sequence[Line]]) -> None:
    """Take them out of the ledger; the next ingest makes them anew."""
    for stream, lines in shards.items():
        forget(recipe.store, stream, lines)


def try_again(recipe: Recipe, uid: str) -> tuple[Reject, list[Clip | Reject]]:
    """What was said of one medium, and what becomes of it now, on this machine; nothing is stored.

    Raises UserError: no such medium, or an archive that has changed since.
    """
    stream, line, before = _find(recipe, uid)
    source, shard = _source(recipe, stream, line)
    item = next((item for item in source.read(shard) if item.uid == uid), None)
    if item is None:
        raise UserError(f"{line.name} of {line.source} holds no medium {uid} any more")
    if source.narrated and isinstance(item, Media):
        chosen = recipe.ingest
        transcribe = Transcribe(chosen.speech, limits(chosen.frames), fitting(chosen.filters))
        item = next(transcribe([item]))
    if isinstance(item, Reject):
        return before, [item]
    return before, ClipMaker(recipe.ingest, source.narrated)(item)


def outcome_lines(before: Reject, now: Sequence[Clip | Reject]) -> Iterator[str]:
    """The same in lines for people."""
    yield f"then  {_reason(before)}: {before.detail}"
    yield f"      {before.uri}  {before.content and 'blake2b ' + before.content}".rstrip()
    for item in now:
        if isinstance(item, Reject):
            yield f"now   {_reason(item)}: {item.detail}"
        else:
            yield f"now   a clip of {item.duration_s:.1f} s with {len(item.frames)} frames"


def streams(recipe: Recipe) -> list[str]:
    """The streams that the recipe's sources feed."""
    return list(dict.fromkeys(source.stream for source in recipe.data.sources))


def _reason(reject: Reject) -> str:
    return f"{reject.stage}/{reject.reason}"


def _asked(reason: str, reasons: Sequence[str]) -> bool:
    return not reasons or reason in reasons or reason.split("/")[-1] in reasons


def _find(recipe: Recipe, uid: str) -> tuple[str, Line, Reject]:
    for stream in streams(recipe):
        lines = Ledger(recipe.store, stream).committed().values()
        for line, rejects in rejects_by_shard(recipe.store, stream, lines):
            for reject in rejects:
                if reject.uid == uid:
                    return stream, line, reject
    raise UserError(f"{recipe.store}: no medium {uid} was set aside")


def _source(recipe: Recipe, stream: str, line: Line) -> tuple[Source, InputShard]:
    """Where a committed input shard came from."""
    opened = (open_source(s, recipe.data.root) for s in recipe.data.sources if s.stream == stream)
    for source in opened:
        if source.name == line.source:
            for shard in shards_of(source, recipe.ingest.rows_per_shard, [line.slot]):
                if shard.hash == line.shard:
                    return source, shard
    raise UserError(
        f"{line.name} of {line.source} is not what it was when it was ingested; nothing to try again"
    )
