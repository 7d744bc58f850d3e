"""A system of a user's own goes the whole way that ours goes: trained under Ray, searched, scored and shown."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from infra.journal import Done
from infra.objects import join
from infra.tracking import TrackedRun, tracking_for
from pipeline import verbs
from pipeline.recipes.resolve import resolve
from pipeline.run.evaluate import evaluate
from pipeline.run.everything import Finished
from pipeline.run.recipe_run import running
from pipeline.run.search import search
from tests.ingest.clips import write_stream
from tests.tracker import lay_database
from trainers.checkpoints.checkpoint import load_lineage
from tune.settings import Setting, with_setting


@pytest.mark.usefixtures("ray_local")
def test_a_system_that_only_its_recipe_file_knows_is_trained_searched_scored_and_shown(
    tmp_path: Path,
) -> None:
    plain = resolve("tests/trainers/systems/toy/recipe.py:toy")
    recipe = replace(plain, store=str(tmp_path / "clips"), output=str(tmp_path / "run"))
    lay_database(tmp_path / "run")
    write_stream(recipe.store, "captioned", 24)
    write_stream(recipe.store, "labelled", 24, labels=("even", "odd", None))
    with running(recipe, "reelscript run toy") as run:
        searched = search(run, None)
        (trial,) = searched.result["trials"]
        assert not searched.result["failed"]
        evaluated = evaluate(run, trial["checkpoint"], None)
        winner = with_setting(recipe.training, recipe.search, Setting(**searched.result["winner"]))
        read = TrackedRun(tracking_for(recipe.output).uri, trial["run_id"])
        label = read.start_child("label")  # the tracked run of the trial's second stage
        stages = (_done(read), _done(label))
        ingested = Done("ingest", {}, 0.0, earlier=True)
        ended = replace(recipe, training=winner)
        verbs.show(run, [Finished(ended, ingested, stages, searched, evaluated)])

    assert (trial["setting"], trial["step"]) == (
        {"values": {"stages.1.frozen_below.fusion": 1}, "variant": "slow"},
        8,
    )
    assert Path(trial["checkpoint"]).parent.name == "slow-frozen_below.fusion-1-seed-0-label"
    told = json.loads(load_lineage(trial["checkpoint"])["recipe"])["training"]["stages"]
    assert told[0]["optimizer"]["rates"]["rest"]["lr"] == 1e-4
    assert told[1]["frozen_below"] == {"fusion": 1}
    assert label.history("labelled/toy_labels")
    page = Path(join(recipe.output, "report.html")).read_text()
    for words in ("toy_words loss", "attention paid to the film", "the 3 nearest read together", "Toy: "):
        assert words in page


def _done(tracked: TrackedRun) -> Done:
    return Done("stage", {"run_id": tracked.run_id}, 0.0, earlier=False)
