"""A run that an older version began is found again, though its name has another hash."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

from pipeline.run.train import older_run
from trainers.checkpoints.checkpoint import RECIPE_FILE, load_lineage, load_training, recipe_json


def test_a_stage_goes_on_in_the_run_in_which_an_older_version_began_it(tmp_path: Path, goldens: Path) -> None:
    older = goldens / "older" / "checkpoint_00000004"
    training, ledgers = load_training(str(older)), load_lineage(str(older))
    name = f"{training.stages[0].name}-0123abcd"
    place = tmp_path / name / older.name
    shutil.copytree(older, place)
    entry = {"checkpoint_dir_name": older.name, "metrics": {"step": 4}}
    book = {"checkpoint_results": [entry], "latest_checkpoint_result": entry}
    (tmp_path / name / "checkpoint_manager_snapshot.json").write_text(json.dumps(book))
    (tmp_path / f"{training.stages[0].name}-more-0123abcd").mkdir()

    runs = str(tmp_path)
    assert older_run(runs, training, 0, ledgers) == name
    assert older_run(runs, replace(training, seed=1), 0, ledgers) is None
    assert older_run(runs, training, 0, {**ledgers, "ledger/narrated": "others"}) is None
    (place / RECIPE_FILE).write_text(json.dumps(recipe_json(training)))
    assert older_run(runs, training, 0, ledgers) is None  # a run of this version is found by its name alone
    assert older_run(str(tmp_path / "nothing"), training, 0, ledgers) is None
