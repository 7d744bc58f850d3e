"""What need not be started: found before Ray and the tracker are, which take longer than the answer."""

from infra.errors import UserError
from infra.journal import Journal, fingerprint
from ingest.plan import Summary, plan
from pipeline.recipe import Recipe
from pipeline.terminal import tables
from pipeline.workspace import located, open_source


def ingested_before(recipe: Recipe) -> bool:
    """Whether every input shard was committed before; then the table of an ingest that has nothing to do is shown.

    It looks only where an ingest of the same ended before: else there is something to do, and planning it twice costs.
    """
    recipe = located(recipe)
    if not Journal(recipe.output).done("ingest", fingerprint(recipe.data, recipe.ingest, recipe.store)):
        return False
    sources = [open_source(source, recipe.data.root) for source in recipe.data.sources]
    try:
        tasks, streams = plan(sources, recipe.ingest, recipe.store)
    except (UserError, ValueError):  # the ingest itself says it, and what is kept
        return False
    if tasks:
        return False
    console = tables.terminal()
    console.print(tables.ingest_table(Summary(tuple(streams.values()), 0.0)))
    console.print(tables.NOTHING_TO_INGEST, highlight=False)
    return True
