"""What each verb of the command line does: the steps of `pipeline.run.everything`, and what people see of them."""

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from infra.errors import UserError
from infra.objects import absolute, join, local_path, read_bytes, upload_folder
from infra.tracking import tracking_for
from pipeline.demo.corpus import CorpusSize, make_corpus
from pipeline.demo.speech_model import write_checkpoint
from pipeline.evaluation.scores import Scores
from pipeline.recipe import Recipe, Validating
from pipeline.recipes.recipe_file import FUNCTION
from pipeline.report.facts import Weights
from pipeline.report.page import write_report
from pipeline.run.evaluate import evaluate
from pipeline.run.everything import Finished, everything
from pipeline.run.ingest import check_root, export_shards, ingest
from pipeline.run.recipe_run import RecipeRun, running
from pipeline.run.report_facts import report_data
from pipeline.run.search import check_search, search
from pipeline.run.train import train_until, trained_before
from pipeline.terminal import tables
from pipeline.terminal.progress import progress
from pipeline.workspace import located


def run_all(recipe: Recipe, command: str) -> None:
    """`reelscript run`: every step, then the table and the page."""
    check_root(recipe)
    with running(recipe, command) as run:
        show(run, [everything(run)])


def run_ingest(recipe: Recipe, command: str, export: str | None = None) -> None:
    """`reelscript ingest`."""
    check_root(recipe)
    with running(recipe, command) as run:
        ingest(run)
        if export is not None:
            export_shards(run)


def run_train(recipe: Recipe, command: str, stream: bool = False) -> None:
    """`reelscript train`: all stages; `stream`: on clips straight from their sources."""
    scored = recipe.validation.stream
    recipe = replace(recipe, validation=Validating()) if stream else recipe
    with running(recipe, command) as run:
        if stream and scored:
            run.say(
                f"Checkpoints are not scored on {scored}: that reads the store, and --stream writes none."
            )
        checkpoint = train_until(replace(run, live=stream), run.num_stages)
        run.say(f"The checkpoint that it ended with: {checkpoint}")


def run_tune(recipe: Recipe, command: str) -> None:
    """`reelscript tune`: the stages before the searched one, then the search."""
    if not recipe.search.wanted:
        raise UserError(
            "There is nothing to search: set --search.space, e.g. --search.space "
            "stages.0.optimizer.weight_decay grid:0.01,0.05,0.2."
        )
    check_search(located(recipe))
    with running(recipe, command) as run:
        found = search(run, train_until(run, run.searched))
        run.say(f"Train with it: reelscript train {found.result['recipe_file']}:{FUNCTION}")


def run_evaluate(recipe: Recipe, command: str, checkpoint: str | None) -> None:
    """`reelscript evaluate`: a given checkpoint, or the one that the recipe's training ended with."""
    with running(recipe, command) as run:
        start = None
        if checkpoint is None and run.num_stages > 1:
            start = trained_before(run, run.num_stages - 2)
        trained = absolute(checkpoint) if checkpoint else trained_before(run, run.num_stages - 1)
        done = evaluate(run, trained, start)
        found = [Weights(kind, kind, (Scores.from_json(value),)) for kind, value in done.result.items()]  # type: ignore[arg-type]
        run.console.print(tables.metrics_table(found))


def run_demo(recipe: Recipe, command: str, seeds: Sequence[int]) -> None:
    """`reelscript demo`: make the corpus and the speech model, then everything, once per seed."""
    recipe = located(recipe)
    tables.terminal().print(
        "This takes about 8 minutes per seed on 2 cores. It can be stopped: the same command continues.\n",
        highlight=False,
    )
    make_inputs(recipe)
    with running(recipe, command) as run:
        finished = [everything(replace(run, recipe=seeded(run.recipe, seed))) for seed in seeds]
        show(run, finished)


def seeded(recipe: Recipe, seed: int) -> Recipe:
    """The recipe with another seed of training and search; shards are shared."""
    return replace(
        recipe,
        training=replace(recipe.training, seed=seed),
        search=replace(recipe.search, seeds=(seed,)),
    )


def make_inputs(recipe: Recipe) -> None:
    """The narrated corpus at the data root (made on this machine, then uploaded where that is remote), and the
    speech model as a checkpoint that Whisper loads."""
    root = local_path(recipe.data.root)
    with progress("Make the corpus", "files") as update:

        def add(what: str, done: int, total: int) -> None:
            counts[what] = (done, total)
            update(sum(d for d, _ in counts.values()), sum(t for _, t in counts.values()))

        counts: dict[str, tuple[int, int]] = {}
        if root is not None:
            make_corpus(root, CorpusSize(), progress=add)
        else:
            with tempfile.TemporaryDirectory() as folder:
                make_corpus(Path(folder), CorpusSize(), progress=add)
                upload_folder(folder, recipe.data.root)
    model = Path(recipe.ingest.speech.model)
    if not model.exists():
        model.parent.mkdir(parents=True, exist_ok=True)
        write_checkpoint(model)


def show(run: RecipeRun, finished: Sequence[Finished]) -> None:
    """The table on the terminal, and the page beside the output and with the tracked run."""
    recipe = run.recipe
    tracking = tracking_for(recipe.output)
    data = report_data(finished, tracking, run.command)
    page = join(recipe.output, "report.html")
    write_report(data, page)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "report.html"
        copy.write_bytes(read_bytes(page))
        run.tracked.log_artifact(copy)
    run.console.print()
    run.console.print(tables.metrics_table(data.weights))
    run.say(f"\nReport  [bold]{page}[/]\nRuns    mlflow ui --backend-store-uri {tracking.uri}")
