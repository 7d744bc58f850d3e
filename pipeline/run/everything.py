"""Ingest, train the first stages, search, train the last, evaluate: every verb is one or more of these steps.

A step is skipped when it was finished before with the same inputs, so the same command continues after any stop.
"""

from dataclasses import dataclass, replace

from infra.journal import Done
from pipeline.evaluation.held_out import check_captions
from pipeline.recipe import Recipe
from pipeline.run.evaluate import evaluate
from pipeline.run.ingest import ingest
from pipeline.run.recipe_run import RecipeRun
from pipeline.run.search import check_search, search
from pipeline.run.train import check_validation, train
from tune.settings import Setting, with_setting


@dataclass(frozen=True)
class Finished:
    """A whole run: its finished steps, in order, and the recipe it ended with."""

    recipe: Recipe
    ingest: Done
    stages: tuple[Done, ...]
    search: Done | None
    evaluate: Done


def everything(run: RecipeRun) -> Finished:
    """All steps in order. With a search, the stage it varies is trained at the setting it found."""
    recipe = run.recipe
    check_captions(recipe)  # before hours of run, not after
    if recipe.search.wanted:
        check_search(recipe)
    ingested = ingest(run)
    check_validation(run)
    stages: list[Done] = []
    start = start_of_search = None
    searched: Done | None = None
    training = recipe.training
    for index in range(run.num_stages):
        if index == run.searched and recipe.search.wanted:
            start_of_search = start
            searched = search(run, start)
            training = with_setting(training, recipe.search, Setting(**searched.result["winner"]))
        elif index == run.searched:
            start_of_search = start
        stages.append(train(run, index, start, training))
        start = str(stages[-1].result["checkpoint"])
    assert start is not None
    evaluated = evaluate(run, start, start_of_search)
    return Finished(replace(recipe, training=training), ingested, tuple(stages), searched, evaluated)
