"""What a number of frozen blocks promises: what is frozen stays as it was, to the bit."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.ingest.clips import write_stream
from tests.trainers.tiny import plain_batches, training
from trainers.loop.train import build_learner, scheduled, train
from trainers.systems.tvtsv2.settings import TEXT_EMBEDDINGS
from tune.settings import Setting, trial_training
from tune.space import Search


def ignore(step: int, values: Mapping[str, float]) -> None:
    """Logs or saves nothing."""


@pytest.mark.parametrize("embeddings", [False, True])
def test_frozen_parameters_are_bit_equal_after_training_without_gradient_or_optimiser_state(
    tmp_path: Path, embeddings: bool
) -> None:
    for stream in ("narrated", "captioned"):
        write_stream(str(tmp_path), stream, 24)
    recipe = training(6)
    stage = replace(recipe.stages[0], freeze=TEXT_EMBEDDINGS if embeddings else ())
    one_frozen = Setting({"stages.0.frozen_below.text": 1})
    recipe = trial_training(replace(recipe, stages=(stage,)), Search(steps=6), one_frozen, seed=0)
    learner = build_learner(recipe, 0, torch.device("cpu"), None, None)
    model = learner.task.model
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    readers = [plain_batches(str(tmp_path), recipe, index) for index in (0, 1)]
    train(learner, scheduled(recipe.stages[0], recipe.seed, 0, readers), ignore, ignore, str(tmp_path))

    moved = {name for name, value in model.named_parameters() if not torch.equal(value, before[name])}
    frozen = {name for name in before if name.startswith("text.blocks.0.")}
    if embeddings:
        frozen |= set(TEXT_EMBEDDINGS)
    assert frozen.isdisjoint(moved)
    assert "text.blocks.1.mlp.c_fc.weight" in moved
    with_state = {name for name, value in model.named_parameters() if value in learner.optimizer.state}
    assert with_state == before.keys() - frozen
    assert all(value.grad is None for name, value in model.named_parameters() if name in frozen)
