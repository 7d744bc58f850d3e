import json
import pickle
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from infra.errors import UserError
from tests.trainers.tiny import MODEL, training
from trainers import checkpoint
from trainers.loop import Learner, build_learner
from trainers.plain import from_plain
from trainers.recipe import Launch, Training
from trainers.sharding import snapshot


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    recipe = training(1)
    learner = build_learner(recipe, 0, torch.device("cpu"), None, None)
    checkpoint.save(tmp_path, learner.task.model, learner.state(), recipe, {"commit": "abc"})
    return tmp_path


def test_a_checkpoint_gives_back_model_recipe_and_lineage(folder: Path) -> None:
    model, config = checkpoint.load_model(str(folder))
    fresh = build_learner(training(1), 0, torch.device("cpu"), None, None).task.model.state_dict()
    assert config == MODEL
    assert checkpoint.load_training(str(folder)) == training(1)
    assert checkpoint.load_lineage(str(folder)) == {"commit": "abc"}
    assert all(torch.equal(value, fresh[name]) for name, value in model.state_dict().items())


def test_a_snapshot_is_its_step_and_not_the_next(tmp_path: Path) -> None:
    recipe = training(1)
    learner = build_learner(recipe, 0, torch.device("cpu"), None, None)
    take_a_step(learner)
    checkpoint.save(tmp_path, learner.task.model, learner.state(), recipe, {"commit": "abc"})
    later = snapshot(learner.task.model.state_dict(), learner.state())
    take_a_step(learner)
    checkpoint.write(tmp_path / "later", later, recipe, {"commit": "abc"})
    for file in ("model.safetensors", "recipe.json", "lineage.json"):
        assert (tmp_path / "later" / file).read_bytes() == (tmp_path / file).read_bytes()
    ours, theirs = (flat(asdict(checkpoint.load_state(str(at)))) for at in (tmp_path / "later", tmp_path))
    assert ours.keys() == theirs.keys()
    assert all(same(value, theirs[name]) for name, value in ours.items())


def take_a_step(learner: Learner) -> None:
    for parameter in learner.task.model.parameters():
        parameter.grad = torch.ones_like(parameter) if parameter.requires_grad else None
    learner.optimizer.step()


def flat(value: object, name: str = "") -> dict[str, object]:
    """Everything in nested mappings by its path."""
    if not isinstance(value, dict):
        return {name: value}
    return {path: leaf for key, inner in value.items() for path, leaf in flat(inner, f"{name}/{key}").items()}


def same(one: object, other: object) -> bool:
    return torch.equal(one, other) if isinstance(one, Tensor) and isinstance(other, Tensor) else one == other


class Hostile:
    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return (print, ("code from the file ran",))


def test_a_state_that_would_run_code_is_refused_in_one_sentence(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "state.pt").write_bytes(pickle.dumps(Hostile()))
    with pytest.raises(UserError, match=r"state\.pt: not a training state, or damaged"):
        checkpoint.load_state(str(folder))
    assert "ran" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("file", "content", "sentence"),
    [
        ("model.safetensors", b"\xff" * 64, "is cut off or not a safetensors file"),
        ("recipe.json", b"[1, 2", "not a recipe of this version"),
        ("recipe.json", b'{"modle": {}}', "Training has no field 'modle'"),
        ("recipe.json", b"3", "not a recipe of this version"),
        ("state.pt", b"", "not a training state, or damaged"),
    ],
)
def test_damaged_files_are_refused_by_name(folder: Path, file: str, content: bytes, sentence: str) -> None:
    (folder / file).write_bytes(content)
    load = checkpoint.load_state if file == "state.pt" else checkpoint.load_model
    with pytest.raises(UserError, match=sentence) as refusal:
        load(str(folder))
    assert file in str(refusal.value)


def test_weights_of_another_shape_are_refused(folder: Path) -> None:
    plain = json.loads((folder / "recipe.json").read_text())
    plain["model"]["text"]["layers"] = 3
    (folder / "recipe.json").write_text(json.dumps(plain))
    with pytest.raises(UserError, match=r"does not fit this model; missing: text\.blocks\.2\."):
        checkpoint.load_model(str(folder))


def test_a_missing_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere/recipe\.json: not found"):
        checkpoint.load_model(str(tmp_path / "nowhere"))


def test_a_recipe_survives_json() -> None:
    launch = Launch(workers="4:16", use_gpu=True)
    recipe = replace(training(3), init="s3://bucket/start.safetensors", launch=launch)
    assert from_plain(Training, json.loads(json.dumps(asdict(recipe)))) == recipe
