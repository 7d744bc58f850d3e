"""The first step: raw archives to shards."""

from collections.abc import Sequence
from dataclasses import asdict

from infra.errors import UserError
from infra.journal import Done, fingerprint
from infra.objects import exists, local_path
from ingest.cluster import graph, stored
from ingest.plan import StreamSummary
from ingest.stores.ledger import Ledger
from ingest.stores.shards import parts_of
from ingest.tally import StageStands
from pipeline.recipe import Recipe
from pipeline.run.recipe_run import RecipeRun, step
from pipeline.terminal import tables
from pipeline.terminal.progress import progress
from pipeline.workspace import open_source


def ingest(run: RecipeRun) -> Done:
    """Bring what is missing into the store."""
    recipe = run.recipe
    sources = [open_source(source, recipe.data.root) for source in recipe.data.sources]
    stands: dict[str, StreamSummary] = {}
    with step(run, "ingest"), progress("Ingest", "shards") as update:

        def add(stream: StreamSummary) -> None:
            stands[stream.stream] = stream
            update(*tables.ingest_progress(stands.values()))

        def watch(stages: Sequence[StageStands]) -> None:
            update(*tables.ingest_progress(stands.values()), tables.stage_lines(stages))

        summary = graph.ingest(sources, recipe.ingest, recipe.store, add, watch)
    run.console.print(tables.ingest_table(summary))
    inputs = fingerprint(recipe.data, recipe.ingest, recipe.store)
    if summary.nothing_to_do:
        run.say(tables.NOTHING_TO_INGEST)
        earlier = run.journal.done("ingest", inputs)
        if earlier:
            return earlier
    return run.journal.record("ingest", inputs, asdict(summary), summary.seconds)


def export_shards(run: RecipeRun) -> None:
    """Every stream that holds clips as WebDataset tars."""
    store = run.recipe.store
    names = dict.fromkeys(source.stream for source in run.recipe.data.sources)
    parts = {name: parts_of(Ledger(store, name).committed().values()) for name in names}
    with (
        step(run, "export"),
        progress("Export WebDataset", "shards", sum(map(len, parts.values()))) as update,
    ):
        written: list[bool] = []
        for name in filter(parts.get, names):
            for new in stored.export_webdataset(store, name, parts[name]):
                written.append(new)
                update(len(written))
    run.say(f"{sum(written)} of {len(written)} shards written as tars below {store}/STREAM/webdataset")


def check_root(recipe: Recipe) -> None:
    """UserError where there is no folder of raw data. (A bucket has no folders; its first list file tells.)"""
    root = recipe.data.root
    if local_path(root) is not None and not exists(root):
        hint = "; `reelscript demo` makes the tiny recipes'" if recipe.name.endswith("-tiny") else ""
        raise UserError(f"there is no folder {root}: set --data.root to where the archives are{hint}")
