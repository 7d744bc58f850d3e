"""The contracts hold for a system that is no paper's: it is trained in every way, from its recipe file alone."""

import dataclasses
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from safetensors.torch import load_file

from infra.errors import UserError
from pipeline.export.export import export
from tests.ingest.clips import write_stream
from tests.trainers.loop.test_sharding import own_half
from tests.trainers.ranks import in_two_ranks
from tests.trainers.systems.toy.recipe import training
from tests.trainers.tiny import plain_batches
from trainers.checkpoints import checkpoint
from trainers.data.batch import Batch
from trainers.loop.sharding import snapshot
from trainers.loop.train import Learner, build_learner, scheduled, train
from trainers.models.pretrained import load_pretrained
from trainers.models.weights.names import own_weights
from trainers.ranks import num_ranks, own_rank
from trainers.recipe import Training

CPU = torch.device("cpu")
Weights = dict[str, NDArray[np.float32]]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The URI of 24 clips of each stream of the toy."""
    folder = str(tmp_path_factory.mktemp("store"))
    write_stream(folder, "captioned", 24)
    write_stream(folder, "labelled", 24, labels=("even", "odd", None))
    return folder


def trained(store: str, recipe: Training, index: int, folder: Path, **begun: str | None) -> Learner:
    """A learner after a stage, with a checkpoint below `folder` for every second step; `begun`: its start or resume."""
    learner = build_learner(recipe, index, CPU, begun.get("start"), begun.get("resume"))
    stage = recipe.stages[index]
    alone = replace(recipe, stages=(stage,))
    batches = [own_half(plain_batches(store, alone, i, learner.step)) for i in range(len(stage.streams))]

    def save(step: int, values: object) -> None:
        part = snapshot(own_weights(learner.task.model), learner.state())
        checkpoint.write(folder / str(step), part, recipe, {"commit": "none"})

    train(
        learner,
        scheduled(stage, recipe.seed, learner.step, batches),
        lambda step, values: None,
        save,
        str(folder / "run"),
    )
    return learner


def both_stages(store: str, recipe: Training, folder: Path) -> Learner:
    """A learner after the second stage, which began with what the first ended with."""
    trained(store, recipe, 0, folder / "read")
    if num_ranks() > 1:
        dist.barrier()  # every rank has written its part
    return trained(store, recipe, 1, folder / "label", start=str(folder / "read" / "4"))


def everything(learner: Learner) -> dict[str, torch.Tensor]:
    """All that a run goes on from, whole."""
    state = snapshot(own_weights(learner.task.model), learner.state())
    return {**state.weights, **state.state.objectives, **moments(state.state)}


def moments(state: checkpoint.State) -> dict[str, torch.Tensor]:
    """Of the optimiser."""
    return {
        f"moments/{number}/{name}": value
        for number, own in state.optimizer["state"].items()
        for name, value in own.items()
    }


def assert_equal(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> None:
    """To the bit."""
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        assert torch.equal(ours[name], value), name


def test_a_run_that_was_stopped_in_the_second_stage_ends_as_one_that_never_was(
    store: str, tmp_path: Path
) -> None:
    whole = both_stages(store, training(), tmp_path)
    resume = str(tmp_path / "label" / "2")
    resumed = trained(store, training(), 1, tmp_path / "again", resume=resume)
    assert_equal(everything(resumed), everything(whole))
    carried, before = (checkpoint.load_state(str(tmp_path / place)) for place in ("label/2", "read/4"))
    assert carried.objectives["toy_memory.place"] > before.objectives["toy_memory.place"] > 0
    frozen = {name for name, value in whole.task.model.named_parameters() if not value.requires_grad}
    assert frozen == {name for name in own_weights(whole.task.model) if name.startswith("fusion.blocks.0.")}


def test_recomputed_blocks_drop_what_the_first_pass_dropped(store: str, tmp_path: Path) -> None:
    plain = trained(store, training(), 0, tmp_path / "plain")
    sparing = trained(store, training(checkpoint_activations=True), 0, tmp_path / "sparing")
    assert_equal(everything(sparing), everything(plain))


def test_parts_have_the_gradients_of_the_whole_also_where_words_are_counted(store: str) -> None:
    for index, stream in ((0, 0), (0, 1), (1, 1)):
        (undivided, losses), (divided, same) = (
            gradients(store, training(dropout=0.0, parts=parts), index, stream) for parts in (1, 4)
        )
        assert losses == pytest.approx(same, rel=1e-5)
        assert undivided.keys() == divided.keys()
        for name, value in undivided.items():
            torch.testing.assert_close(divided[name], value, rtol=1e-5, atol=1e-6, msg=name)


def gradients(
    store: str, recipe: Training, index: int, number: int
) -> tuple[dict[str, torch.Tensor], dict[str, float]]:
    """Those of the first batch of a stream, one of whose clips could not be read; and its losses."""
    learner = build_learner(recipe, index, CPU, None, None)
    stage = recipe.stages[index]
    batch = next(plain_batches(store, replace(recipe, stages=(stage,)), number))
    valid = torch.tensor([True, False, True, True])
    batch = Batch(replace(batch.clips, valid=valid), batch.inputs)
    learner.task.before_step(0)
    losses = learner.backward(stage.streams[number], batch)
    named = learner.task.named_parameters()
    found = {name: value.grad for name, value in named if value.grad is not None}
    return found, {name: loss.item() for name, loss in losses.items()}


def test_a_step_that_is_skipped_enters_nothing_into_the_queue(store: str) -> None:
    recipe = training()
    learner = build_learner(recipe, 0, CPU, None, None)
    batch = next(plain_batches(store, recipe, 0))
    memory = learner.task.objectives["toy_memory"]
    for taken, entered in ((0.0, 0), (1.0, 4)):
        learner.backward(recipe.stages[0].streams[0], batch)
        learner.task.after_step(torch.tensor(taken))
        assert (int(memory.place), int(memory.queue.any(1).sum())) == (entered, entered)


def test_what_a_stage_needs_and_its_start_does_not_have_is_an_error_unless_it_is_fresh(
    store: str, tmp_path: Path
) -> None:
    recipe = training()
    trained(store, recipe, 0, tmp_path)
    second = replace(recipe.stages[1], begin=dataclasses.replace(recipe.stages[1].begin, fresh=()))
    with pytest.raises(
        UserError, match=r"has no state of the objective 'toy_labels'; list objectives.toy_labels"
    ):
        build_learner(replace(recipe, stages=(recipe.stages[0], second)), 1, CPU, str(tmp_path / "4"), None)


def on_two_ranks(rank: int, store: str, folder: Path) -> list[tuple[Weights, Weights]]:
    """Both stages as whole models, as shared ones, and shared in parts; whole weights and what is remembered."""
    found = []
    for way, launch in {
        "ddp": {"parallel": "ddp"},
        "fsdp": {"parallel": "fsdp"},
        "parts": {"parallel": "fsdp", "parts": 2, "checkpoint_activations": True},
    }.items():
        recipe = training(dropout=0.0 if way == "parts" else 0.1, **launch)
        place = folder / way if way != "ddp" else folder / f"ddp-{own_rank()}"
        learner = both_stages(store, recipe, place)
        found.append((numbers(learner.task.model), numbers(learner.task.objectives)))
    again = trained(
        store, training(parallel="fsdp"), 1, folder / "again", resume=str(folder / "fsdp" / "label" / "2")
    )
    return [*found, (numbers(again.task.model), numbers(again.task.objectives))]


def numbers(module: torch.nn.Module) -> Weights:
    """All of a module, whole; every rank calls it."""
    values = module.state_dict().items()
    return {name: getattr(value, "full_tensor", lambda v=value: v)().numpy().copy() for name, value in values}


def test_two_ranks_train_it_as_whole_models_and_as_shared_ones_and_remember_the_same(
    store: str, tmp_path: Path
) -> None:
    first, second = in_two_ranks(on_two_ranks, store, tmp_path)
    for ours, theirs in zip(first, second, strict=True):
        assert_same(ours, theirs, exact=True)
    whole, shared, _, again = first
    assert_same(shared, whole)
    assert_same(again, shared, exact=True)
    assert whole[1]["toy_memory.queue"].any(axis=1).all()


def assert_same(ours: tuple[Weights, ...], theirs: tuple[Weights, ...], *, exact: bool = False) -> None:
    """Everywhere."""
    for mine, other in zip(ours, theirs, strict=True):
        assert mine.keys() == other.keys()
        for name, value in other.items():
            if exact:
                np.testing.assert_array_equal(mine[name], value, err_msg=name)
            else:
                np.testing.assert_allclose(mine[name], value, rtol=1e-4, atol=1e-5, err_msg=name)


def test_an_export_holds_tied_weights_once_and_no_head_of_an_objective(store: str, tmp_path: Path) -> None:
    learner = both_stages(store, training(), tmp_path)
    export(str(tmp_path / "label" / "4"), str(tmp_path / "export"))
    written = load_file(tmp_path / "export" / "model.safetensors")
    assert "words.weight" in written
    assert not {"written.weight", "head.weight"} & written.keys()
    model, usage = load_pretrained(str(tmp_path / "export"))
    assert usage.system == training().system
    assert model.written.weight is model.words.weight
    assert_equal(model.state_dict(), learner.task.model.state_dict())
    card = (tmp_path / "export" / "README.md").read_text()
    assert "| words, read and written | 640 |" in card
    assert "1 lowest blocks of fusion" in card
