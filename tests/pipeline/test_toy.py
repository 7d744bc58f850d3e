"""A system of a user's own goes the whole way that ours goes: trained under Ray, searched, scored and shown."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from mlflow import MlflowClient

from infra.objects import join
from infra.tracking import tracking_for
from pipeline import run, verbs
from pipeline.recipes.resolve import resolve
from pipeline.run import Finished, working
from pipeline.steps import Done
from tests.ingest.clips import write_stream
from trainers.checkpoint import load_lineage
from tune.trials import Setting, with_setting


@pytest.mark.usefixtures("ray_local")
def test_a_system_that_only_its_recipe_file_knows_is_trained_searched_scored_and_shown(
    tmp_path: Path,
) -> None:
    plain = resolve("tests/trainers/systems/toy/recipe.py:toy")
    recipe = replace(plain, store=str(tmp_path / "clips"), output=str(tmp_path / "run"))
    write_stream(recipe.store, "captioned", 24)
    write_stream(recipe.store, "labelled", 24, labels=("even", "odd", None))
    with working(recipe, "reelscript run toy") as work:
        first = run.train(work, 0, None)
        searched = run.tune(work, first.result["checkpoint"])
        winner = with_setting(recipe.training, recipe.search, Setting(**searched.result["winner"]))
        second = run.train(work, 1, first.result["checkpoint"], winner)
        evaluated = run.evaluate_all(work, second.result["checkpoint"], first.result["checkpoint"])
        ended = replace(recipe, training=winner)
        ingested = Done("ingest", {}, 0.0, earlier=True)
        verbs.show(work, [Finished(ended, ingested, (first, second), searched, evaluated)])

    trials = searched.result["trials"]
    assert [trial["setting"]["values"] for trial in trials] == [
        {"stages.1.frozen_below.fusion": blocks} for blocks in (0, 1)
    ]
    for checkpoint, frozen in (
        *((trial["checkpoint"], blocks) for blocks, trial in enumerate(trials)),
        (second.result["checkpoint"], winner.stages[1].frozen_below["fusion"]),
    ):
        told = json.loads(load_lineage(checkpoint)["recipe"])
        assert told["training"]["stages"][1]["frozen_below"] == {"fusion": frozen}
    history = MlflowClient(tracking_for(recipe.output).uri).get_metric_history
    losses = history(second.result["run_id"], "labelled/toy_labels")
    assert losses
    page = Path(join(recipe.output, "report.html")).read_text()
    for words in ("toy_words loss", "attention paid to the film", "the 3 nearest read together", "Toy: "):
        assert words in page
