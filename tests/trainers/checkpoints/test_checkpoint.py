import json
import pickle
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from infra.errors import UserError
from tests.trainers.tiny import CAPTIONED, SYSTEM, training
from trainers.checkpoints import checkpoint
from trainers.checkpoints.checkpoint import State, carry_objectives, recipe_json
from trainers.launch_settings import Launch
from trainers.loop.sharding import snapshot
from trainers.loop.train import Learner, build_learner
from trainers.models.weights.names import fill
from trainers.objectives.settings import Contrastive
from trainers.older_recipes import current
from trainers.recipe import Begin, Optimizer, Training
from trainers.recipe_json import from_values

CPU = torch.device("cpu")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    recipe = training(1)
    learner = build_learner(recipe, 0, CPU, None, None)
    checkpoint.save(tmp_path, learner.task.model, learner.state(), recipe, {"commit": "abc"})
    return tmp_path


def test_a_checkpoint_gives_back_model_recipe_and_lineage(folder: Path) -> None:
    model, system = checkpoint.load_model(str(folder))
    fresh = build_learner(training(1), 0, CPU, None, None).task.model.state_dict()
    assert system == SYSTEM
    assert checkpoint.load_training(str(folder)) == training(1)
    assert checkpoint.load_lineage(str(folder)) == {"commit": "abc"}
    assert all(torch.equal(value, fresh[name]) for name, value in model.state_dict().items())


def test_a_snapshot_is_its_step_and_not_the_next(tmp_path: Path) -> None:
    recipe = training(1)
    learner = build_learner(recipe, 0, CPU, None, None)
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
        ("recipe.json", b'{"version": 2, "sytem": {}}', "Training has no field 'sytem'"),
        ("recipe.json", b"3", "not a recipe of this version"),
        ("state.pt", b"", "not a training state, or damaged"),
    ],
)
def test_damaged_files_are_refused_by_name(folder: Path, file: str, content: bytes, sentence: str) -> None:
    (folder / file).write_bytes(content)
    load = {"state.pt": checkpoint.load_state, "recipe.json": checkpoint.load_training}
    with pytest.raises(UserError, match=sentence) as refusal:
        load.get(file, checkpoint.load_model)(str(folder))
    assert file in str(refusal.value)


def test_weights_of_another_shape_are_refused(folder: Path) -> None:
    plain = json.loads((folder / "recipe.json").read_text())
    plain["system"]["text"]["layers"] = 3
    (folder / "recipe.json").write_text(json.dumps(plain))
    with pytest.raises(UserError, match=r"does not fit this model; missing: text\.blocks\.2\."):
        checkpoint.load_model(str(folder))


def test_a_stage_carries_on_every_part_but_those_that_it_lists_as_fresh(folder: Path) -> None:
    recipe = replace(training(1), seed=5)
    fresh = build_learner(recipe, 0, CPU, None, None).task.model.state_dict()
    saved = load_file(folder / "model.safetensors")
    begun = build_learner(beginning(recipe, "sorting"), 0, CPU, str(folder), None).task.model
    for name, value in begun.state_dict().items():
        assert torch.equal(value, (fresh if name.startswith("sorting.") else saved)[name]), name
    resumed = build_learner(beginning(recipe, "sorting"), 0, CPU, None, str(folder)).task.model
    assert all(torch.equal(value, saved[name]) for name, value in resumed.state_dict().items())


def test_a_part_that_is_missing_in_what_a_stage_starts_from_is_an_error_unless_it_is_listed(
    tmp_path: Path,
) -> None:
    recipe = training(1)
    stage = replace(
        recipe.stages[0], streams=(CAPTIONED,), objectives=(Contrastive(),), optimizer=Optimizer()
    )
    headless = replace(recipe, system=replace(SYSTEM, sorting=None), stages=(stage,))
    learner = build_learner(headless, 0, CPU, None, None)
    checkpoint.save(tmp_path, learner.task.model, learner.state(), headless, {})
    with pytest.raises(UserError, match=r"does not fit this model; missing: sorting\.blocks\.0\."):
        build_learner(recipe, 0, CPU, str(tmp_path), None)
    begun = build_learner(beginning(recipe, "sorting"), 0, CPU, str(tmp_path), None).task.model
    assert torch.equal(begun.text.projection, learner.task.model.text.projection)
    with pytest.raises(
        ValueError, match=r"begin\.fresh: the model has no part 'sortin'; it has video, text, sort"
    ):
        build_learner(beginning(recipe, "sortin"), 0, CPU, str(tmp_path), None)


def test_the_state_of_an_objective_is_carried_on_or_listed_as_fresh(tmp_path: Path) -> None:
    recipe, objectives = training(1), nn.ModuleDict({"queue": nn.BatchNorm1d(2)})
    model = build_learner(recipe, 0, CPU, None, None).task.model
    checkpoint.save(tmp_path / "none", model, State(1, {"state": {}}, {}), recipe, {})
    with pytest.raises(
        UserError, match=r"no state of the objective 'queue'; list objectives\.queue in the stage's"
    ):
        carry_objectives(objectives, str(tmp_path / "none"), ())
    carry_objectives(objectives, str(tmp_path / "none"), ("objectives.queue",))
    assert torch.equal(objectives["queue"].running_mean, torch.zeros(2))
    state = {name: value + 3 for name, value in objectives.state_dict().items()}
    checkpoint.save(tmp_path / "some", model, State(1, {"state": {}}, state), recipe, {})
    carry_objectives(objectives, str(tmp_path / "some"), ())
    assert torch.equal(objectives["queue"].running_mean, torch.full((2,), 3.0))


def beginning(recipe: Training, *fresh: str) -> Training:
    return replace(recipe, stages=(replace(recipe.stages[0], begin=Begin(fresh)),))


class Tied(nn.Module):
    """Words that are read and written by the same table."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(5, 3)
        self.head = nn.Linear(3, 5, bias=False)
        self.head.weight = self.words.weight


def test_tied_weights_are_written_once_and_read_back_as_one(tmp_path: Path) -> None:
    source, found = Tied(), Tied()
    checkpoint.save(tmp_path, source, State(1, {"state": {}}, {}), training(1), {})
    weights = load_file(tmp_path / "model.safetensors")
    assert list(weights) == ["words.weight"]
    checkpoint.load_weights(found, str(tmp_path))
    assert found.head.weight is found.words.weight
    assert torch.equal(found.head.weight, source.words.weight)
    fill(found, {**weights, "head.weight": weights["words.weight"]}, "a file with both names")


def test_a_missing_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere/recipe\.json: not found"):
        checkpoint.load_model(str(tmp_path / "nowhere"))


def test_a_recipe_survives_json() -> None:
    launch = Launch(workers="4:16", use_gpu=True)
    recipe = replace(training(3), init="s3://bucket/start.safetensors", launch=launch)
    assert from_values(Training, current(json.loads(json.dumps(recipe_json(recipe))))) == recipe
