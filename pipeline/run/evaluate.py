"""Scoring the weights that a recipe ended with."""

from collections.abc import Mapping
from typing import Any

from infra.journal import Done, fingerprint
from pipeline.evaluation.cluster.embed import Checkpoint, Fresh, Load
from pipeline.evaluation.evaluate import START
from pipeline.evaluation.held_out import scored_streams, scores_of
from pipeline.run.recipe_run import RecipeRun, step
from pipeline.terminal import tables
from pipeline.terminal.progress import progress
from pipeline.workspace import ledger_digests


def evaluate(run: RecipeRun, trained: str, start: str | None) -> Done:
    """Score the trained weights beside those they started from and random ones."""
    recipe = run.recipe
    settings, system = recipe.evaluation, recipe.training.system
    models: dict[str, Load] = {
        "random": Fresh(system, recipe.training.seed),
        **({START: Checkpoint(start)} if start else {}),
        "trained": Checkpoint(trained),
    }

    def run_evaluation() -> Mapping[str, Any]:
        with progress("Evaluate", "models", len(models)) as update:
            found = scores_of(recipe, models)
            update(len(models))
        for kind, scores in found.items():
            run.tracked.log(0, {f"{kind}/{name}": value for name, value in scores.values.items()})
        return {kind: scores.to_json() for kind, scores in found.items()}

    with step(run, "evaluate"):
        ledgers = ledger_digests(recipe.store, scored_streams(recipe))
        inputs = fingerprint(system, recipe.training.pixels, settings, trained, start, ledgers)
        done = run.journal.do(run.named("evaluate"), inputs, run_evaluation)
    run.say(tables.step_line("evaluate", done))
    return done
