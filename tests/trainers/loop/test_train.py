from collections.abc import Mapping
from dataclasses import replace
from itertools import islice, repeat
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests.trainers.tiny import NARRATED, adamw, plain_batches, tiny_batch, training
from trainers.checkpoints import checkpoint
from trainers.loop.train import Learner, build_learner, scheduled, train
from trainers.models.video_text import VideoTextModel
from trainers.models.weights import tvtsv2
from trainers.recipe import Training

CPU = torch.device("cpu")


def ignore(step: int, values: Mapping[str, float]) -> None:
    """Logs or saves nothing."""


def test_one_batch_is_learnt_by_heart(store: str, tmp_path: Path) -> None:
    recipe = training(20)
    optimizer = adamw(3e-3, 3e-3, form="torch", max_grad_norm=1.0)
    stage = replace(recipe.stages[0], streams=(NARRATED,), frozen_below={}, optimizer=optimizer)
    recipe = replace(recipe, stages=(stage,))
    batch = next(plain_batches(store, recipe, 0))
    history: dict[int, Mapping[str, float]] = {}
    learner = build_learner(recipe, 0, CPU, None, None)
    train(
        learner, scheduled(stage, recipe.seed, 0, [repeat(batch)]), history.__setitem__, ignore, str(tmp_path)
    )
    assert history[1]["narrated/contrastive"] > 2.0  # 2 ln 4 is chance
    assert history[20]["narrated/contrastive"] < 0.1


def test_a_resumed_run_equals_one_that_never_stopped(store: str, tmp_path: Path) -> None:
    recipe = training(6, checkpoint_every=3)
    whole, middle = run(store, recipe, None, tmp_path / "whole")
    resumed, _ = run(store, recipe, str(middle), tmp_path / "resumed")
    assert resumed.step == whole.step == 6
    other = resumed.task.model.state_dict()
    assert all(torch.equal(value, other[name]) for name, value in whole.task.model.state_dict().items())


def run(store: str, recipe: Training, resume: str | None, folder: Path) -> tuple[Learner, Path]:
    """Train to the end; returns the learner and the checkpoint after the third step."""
    learner = build_learner(recipe, 0, CPU, None, resume)

    def save(step: int, values: Mapping[str, float]) -> None:
        (folder / str(step)).mkdir(parents=True)
        checkpoint.save(folder / str(step), learner.task.model, learner.state(), recipe, {})

    readers = [plain_batches(store, recipe, index, learner.step) for index in (0, 1)]
    train(learner, scheduled(recipe.stages[0], recipe.seed, learner.step, readers), ignore, save, str(folder))
    return learner, folder / "3"


def test_start_weights_of_another_layout_are_the_weights_before_the_first_step(tmp_path: Path) -> None:
    recipe = training(2)
    other = VideoTextModel.fresh(recipe.system, seed=7)
    save_file(tvtsv2.export(other, sorting_head=False), tmp_path / "start.safetensors")
    begun = build_learner(replace(recipe, init=str(tmp_path / "start.safetensors")), 0, CPU, None, None)
    for name, value in other.video.state_dict().items():
        assert torch.equal(begun.task.model.video.state_dict()[name], value), name


def test_frozen_text_blocks_stay_as_they_are_and_have_no_optimiser_state(store: str, tmp_path: Path) -> None:
    recipe = training(2)
    learner = build_learner(recipe, 0, CPU, None, None)
    before = {name: value.clone() for name, value in learner.task.model.state_dict().items()}
    readers = [plain_batches(store, recipe, index) for index in (0, 1)]
    train(learner, scheduled(recipe.stages[0], recipe.seed, 0, readers), ignore, ignore, str(tmp_path))
    model = learner.task.model
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    frozen = {name for name, value in model.named_parameters() if not value.requires_grad}
    assert frozen == {name for name in before if name.startswith("text.blocks.0.")}
    assert not changed & frozen
    assert "text.blocks.1.mlp.c_fc.weight" in changed
    stepped = {id(parameter) for parameter in learner.optimizer.state}
    assert not stepped & {id(value) for name, value in model.named_parameters() if name in frozen}


def test_streams_take_turns_and_the_next_step_continues_the_turn() -> None:
    stage = training(5).stages[0]
    endless = [repeat(tiny_batch()), repeat(tiny_batch())]
    names = [
        [stream.name for stream, _ in islice(scheduled(stage, 0, first, endless), 3)] for first in (0, 1)
    ]
    assert names == [["narrated", "captioned", "narrated"], ["captioned", "narrated", "captioned"]]


def test_a_run_says_its_losses_norms_rates_speed_and_memory(store: str, tmp_path: Path) -> None:
    recipe = training(2)
    history: dict[int, Mapping[str, float]] = {}
    learner = build_learner(recipe, 0, CPU, None, None)
    readers = [plain_batches(store, recipe, index) for index in (0, 1)]
    train(
        learner,
        scheduled(recipe.stages[0], recipe.seed, 0, readers),
        history.__setitem__,
        ignore,
        str(tmp_path),
    )
    first, second = history[1], history[2]
    assert {"narrated/contrastive", "narrated/sorting", "narrated/grad_norm"} <= set(first)
    assert not any(name.startswith("captioned") for name in first)
    assert first["lr/rest_decay"] == pytest.approx(1e-2)
    assert second["lr/rest_decay"] == pytest.approx(0.5e-2)  # cosine, half way
    towers = [value for name, value in first.items() if name.startswith("narrated/grad_norm/")]
    assert len(towers) == 3  # video, text, sorting
    assert sum(value**2 for value in towers) == pytest.approx(first["narrated/grad_norm"] ** 2, rel=1e-4)
    assert "captioned/grad_norm/sorting" not in second
    assert (first["samples_seen"], second["samples_seen"]) == (4, 8)
    assert first["narrated/temporal_share"] == 0  # the published start says nothing over time
    assert 0 <= second["wait_share"] <= 1
    assert min(second[name] for name in ("clips_per_s", "tflops_per_s", "memory_gb")) > 0
    assert "mfu" not in second  # a CPU's peak is not known
