"""Files that version 1 wrote, which knew one system: read, exported, started from and gone on from."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from infra.errors import UserError
from pipeline.export.export import export
from pipeline.recipes.resolve import OURS
from trainers.checkpoints import checkpoint
from trainers.loop.train import build_learner
from trainers.models.video_text import VideoTextModel
from trainers.older_recipes import current
from trainers.recipe import Training
from trainers.recipe_json import from_values
from trainers.systems.tvtsv2.settings import TEXT_EMBEDDINGS

OLDER = Path(__file__).parents[1] / "goldens" / "older"
CHECKPOINT = str(OLDER / "checkpoint_00000004")
CPU = torch.device("cpu")


@pytest.mark.parametrize("name", [path.stem for path in sorted((OLDER / "recipes").iterdir())])
def test_an_older_recipe_of_ours_is_the_one_of_today(name: str) -> None:
    plain = json.loads((OLDER / "recipes" / f"{name}.json").read_text())
    assert from_values(Training, current(plain)) == OURS[name]().training


def test_an_older_checkpoint_gives_its_weights_recipe_state_and_lineage() -> None:
    model, system = checkpoint.load_model(CHECKPOINT)
    saved = load_file(Path(CHECKPOINT) / "model.safetensors")
    assert all(torch.equal(value, saved[name]) for name, value in model.state_dict().items())
    training = checkpoint.load_training(CHECKPOINT)
    stage = training.stages[1]
    assert training.system == system
    assert (stage.frozen_below, stage.freeze) == ({"video": 0, "text": 1}, TEXT_EMBEDDINGS)
    assert [(rate.lr, label) for label, rate in stage.optimizer.rates.items()] == [
        (0.01, "new"),
        (0.001, "rest"),
    ]
    assert (stage.objectives[0].temperature, stage.objectives[0].gather) == (0.07, "summed")
    assert (stage.optimizer.course(3, 8), stage.optimizer.course(4, 8)) == (
        pytest.approx(0.1),
        pytest.approx(0.01),
    )
    assert checkpoint.load_state(CHECKPOINT).step == 4
    assert checkpoint.load_lineage(CHECKPOINT)["commit"] == "9f111b7"


def test_a_stage_goes_on_in_its_middle_from_an_older_checkpoint_to_the_weights_it_would_have_had() -> None:
    learner = build_learner(checkpoint.load_training(CHECKPOINT), 1, CPU, None, CHECKPOINT)
    for parameter in learner.task.model.parameters():
        parameter.grad = torch.full_like(parameter, 0.5) if parameter.requires_grad else None
    learner.optimizer.step()
    expected = torch.load(OLDER / "after_one_more.pt", weights_only=True)
    found = learner.task.model.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(value, expected[name]) for name, value in found.items())


def test_an_older_export_is_used_and_is_what_the_checkpoint_gives_today(tmp_path: Path) -> None:
    export(CHECKPOINT, str(tmp_path / "export"))
    older, today = (
        VideoTextModel.from_pretrained(str(place)) for place in (OLDER / "export", tmp_path / "export")
    )
    assert older.usage == today.usage
    weights = today.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in older.state_dict().items())


def test_a_recipe_of_a_later_version_is_refused_in_a_sentence(tmp_path: Path) -> None:
    shutil.copytree(CHECKPOINT, tmp_path / "later")
    (tmp_path / "later" / "recipe.json").write_text('{"version": 3}')
    with pytest.raises(UserError, match="it is of version 3, but this Reelscript reads 2"):
        checkpoint.load_training(str(tmp_path / "later"))
