"""Training on clips straight from the recipe's sources, without shards: `reelscript train --stream`."""

from collections import Counter
from collections.abc import Iterable, Sequence

from infra.cpus import CpuPlan
from infra.errors import UserError
from infra.objects import join
from infra.session import Session
from ingest.cluster.live import LiveStream, check_room
from ingest.stores.ledger import Ledger
from pipeline.recipe import Recipe
from pipeline.workspace import open_source
from trainers.cluster.launch import ClipStream
from trainers.launch_settings import Launch


def live_streams(recipe: Recipe, names: Sequence[str]) -> tuple[dict[str, ClipStream], dict[str, str]]:
    """The rows of these streams, and what names their state, as `ledger_digests` does for the store."""
    streams = {name: live_stream(recipe, name) for name in names}
    return dict(streams), {f"ledger/{name}": stream.digest() for name, stream in streams.items()}


def live_stream(recipe: Recipe, name: str) -> LiveStream:
    """All sources of a stream."""
    sources = tuple(open_source(s, recipe.data.root) for s in recipe.data.sources if s.stream == name)
    if not sources:
        raise UserError(f"no source of the recipe feeds the stream {name!r}, which --stream would read")
    return LiveStream(recipe.store, name, sources, recipe.ingest)


def set_aside(streams: Iterable[ClipStream]) -> list[str]:
    """For people: what could not be used of each stream so far, by reason."""
    lines = []
    for stream in streams:
        assert isinstance(stream, LiveStream)
        counts: Counter[str] = Counter()
        for line in Ledger(stream.record, stream.stream).committed().values():
            counts.update(line.rejects)
        if counts:
            reasons = ", ".join(f"{number} {reason}" for reason, number in sorted(counts.items()))
            where = join(stream.record, stream.stream, "quarantine")
            lines.append(f"{stream.stream}: {counts.total()} set aside ({reasons}); see {where}")
    return lines


def check_live(streams: Iterable[ClipStream], launch: Launch, plan: CpuPlan, session: Session) -> None:
    """UserError where the actors that make clips would not have room beside the training workers."""
    if launch.fewest_workers != launch.most_workers:
        raise UserError(
            f"launch.workers {launch.workers}: with --stream the number of workers is fixed, since actors that make "
            "clips stay as many as they are; give one number"
        )
    live = [stream for stream in streams if isinstance(stream, LiveStream)]
    check_room(live, plan, launch.fewest_workers, float(launch.on_gpu(session.num_gpus)))
