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
from pipeline.run import everything as run
from pipeline.run.everything import Finished, Work, working
from pipeline.run.report_facts import report_data
from pipeline.terminal import outcome
from pipeline.terminal.progress import progress
from pipeline.workspace import located


def run_all(recipe: Recipe, command: str) -> None:
    """`reelscript run`: every step, then the table and the page."""
    run.check_root(recipe)
    with working(recipe, command) as work:
        show(work, [run.everything(work)])


def run_ingest(recipe: Recipe, command: str, export: str | None = None) -> None:
    """`reelscript ingest`."""
    run.check_root(recipe)
    with working(recipe, command) as work:
        run.ingest(work)
        if export is not None:
            run.export_shards(work)


def run_train(recipe: Recipe, command: str, stream: bool = False) -> None:
    """`reelscript train`: all stages; `stream`: on clips straight from their sources."""
    scored = recipe.validation.stream
    recipe = replace(recipe, validation=Validating()) if stream else recipe
    with working(recipe, command) as work:
        if stream and scored:
            work.say(
                f"Checkpoints are not scored on {scored}: that reads the store, and --stream writes none."
            )
        checkpoint = run.train_until(replace(work, live=stream), work.num_stages)
        work.say(f"The checkpoint that it ended with: {checkpoint}")


def run_tune(recipe: Recipe, command: str) -> None:
    """`reelscript tune`: the stages before the searched one, then the search."""
    if not recipe.search.wanted:
        raise UserError(
            "There is nothing to search: set --search.space, e.g. --search.space "
            "stages.0.optimizer.weight_decay grid:0.01,0.05,0.2."
        )
    run.check_tuning(located(recipe))
    with working(recipe, command) as work:
        found = run.tune(work, run.train_until(work, work.searched))
        work.say(f"Train with it: reelscript train {found.result['recipe_file']}:{FUNCTION}")


def run_evaluate(recipe: Recipe, command: str, checkpoint: str | None) -> None:
    """`reelscript evaluate`: a given checkpoint, or the one that the recipe's training ended with."""
    with working(recipe, command) as work:
        start = None
        if checkpoint is None and work.num_stages > 1:
            start = run.trained_before(work, work.num_stages - 2)
        trained = absolute(checkpoint) if checkpoint else run.trained_before(work, work.num_stages - 1)
        done = run.evaluate_all(work, trained, start)
        found = [Weights(kind, kind, (Scores.from_json(value),)) for kind, value in done.result.items()]  # type: ignore[arg-type]
        work.console.print(outcome.metrics_table(found))


def run_demo(recipe: Recipe, command: str, seeds: Sequence[int]) -> None:
    """`reelscript demo`: make the corpus and the speech model, then everything, once per seed."""
    recipe = located(recipe)
    outcome.terminal().print(
        "This takes about 8 minutes per seed on 2 cores. It can be stopped: the same command continues.\n",
        highlight=False,
    )
    make_inputs(recipe)
    with working(recipe, command) as work:
        finished = [run.everything(replace(work, recipe=seeded(work.recipe, seed))) for seed in seeds]
        show(work, finished)


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


def show(work: Work, finished: Sequence[Finished]) -> None:
    """The table on the terminal, and the page beside the output and with the tracked run."""
    recipe = work.recipe
    tracking = tracking_for(recipe.output)
    data = report_data(finished, tracking, work.command)
    page = join(recipe.output, "report.html")
    write_report(data, page)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "report.html"
        copy.write_bytes(read_bytes(page))
        work.tracked.log_artifact(copy)
    work.console.print()
    work.console.print(outcome.metrics_table(data.weights))
    work.say(f"\nReport  [bold]{page}[/]\nRuns    mlflow ui --backend-store-uri {tracking.uri}")
