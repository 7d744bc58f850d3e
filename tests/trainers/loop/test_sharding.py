"""Two workers that share the model (FSDP2), against two that each hold all of it."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from tests.trainers.drivers import recipe_of
from tests.trainers.ranks import in_two_ranks
from tests.trainers.tiny import plain_batches
from trainers.checkpoints import checkpoint
from trainers.data.batch import Batch
from trainers.loop.sharding import snapshot
from trainers.loop.train import Learner, build_learner, scheduled, train
from trainers.models.weights.names import own_weights
from trainers.ranks import num_ranks, own_rank
from trainers.recipe import Training

Weights = dict[str, NDArray[np.float32]]


def recipe(parallel: Literal["ddp", "fsdp"], **launch: Any) -> Training:
    """The tiny recipe, shared in this way; with a start whose gradients are not made of rounding errors."""
    plain = recipe_of(4, checkpoint_every=100)
    settings = dataclasses.replace(plain.launch, parallel=parallel, trace_batches=False, **launch)
    return dataclasses.replace(plain, launch=settings)


def own_half(batches: Iterator[Batch]) -> Iterator[Batch]:
    """This rank's rows of every batch."""
    for batch in batches:
        rows = len(batch.clips) // num_ranks()
        own = slice(rows * own_rank(), rows * (own_rank() + 1))
        yield batch.rows(own)


def learner_in(store: str, settings: Training, resume: str | None) -> tuple[Learner, dict[int, float]]:
    """A learner after all steps, and the losses of its captioned steps, which are those of all ranks."""
    learner = build_learner(settings, 0, torch.device("cpu"), None, resume)
    sources = [own_half(plain_batches(store, settings, index, learner.step)) for index in (0, 1)]
    losses: dict[int, float] = {}
    train(
        learner,
        scheduled(settings.stages[0], settings.seed, learner.step, sources),
        lambda step, values: losses.update({step: values.get("captioned/contrastive", 0.0)}),
        lambda step, values: None,
        f"{store}/none",
    )
    return learner, losses


def write(folder: Path, learner: Learner) -> None:
    """This rank's part of a checkpoint."""
    part = snapshot(own_weights(learner.task.model), learner.state())
    checkpoint.write(folder, part, learner.training, {"commit": "none"})


def trained(
    rank: int, store: str, settings: Training, folder: Path | None, resume: str | None
) -> tuple[dict[int, float], Weights]:
    """Train to the end in this rank; the losses and, whole, the weights."""
    learner, losses = learner_in(store, settings, resume)
    if folder:
        write(folder, learner)
    return losses, whole(learner)


def trained_each_way(rank: int, store: str, folder: Path) -> tuple[Any, ...]:
    """Shared; shared, a clip at a time and with blocks computed again; as whole models."""
    sparing = recipe("fsdp", parts=2, checkpoint_activations=True)
    ways = ((recipe("fsdp"), folder), (sparing, None), (recipe("ddp"), None))
    return tuple(trained(rank, store, settings, place, None) for settings, place in ways)


def whole(learner: Learner) -> Weights:
    """All weights; every rank calls it."""
    values = learner.task.model.state_dict().items()
    return {name: getattr(value, "full_tensor", lambda v=value: v)().numpy() for name, value in values}


def test_sharded_training_loses_what_whole_models_lose_and_goes_on_with_any_number_of_workers(
    store: str, tmp_path: Path
) -> None:
    shared, whole_folder = tmp_path / "shared", tmp_path / "whole"
    (*found, (expected, theirs)), _ = in_two_ranks(trained_each_way, store, shared)
    weights = found[0][1]
    for losses, ours in found:
        assert max(abs(losses[step] - expected[step]) for step in expected) < 1e-5
        for name, value in theirs.items():
            np.testing.assert_allclose(ours[name], value, rtol=1e-4, atol=1e-5, err_msg=name)

    assert {file.name for file in shared.glob("*-of-*")} == {
        f"{kind}-0000{part}-of-00002.{end}"
        for kind, end in (("model", "safetensors"), ("state", "pt"))
        for part in (1, 2)
    }
    alone = build_learner(recipe("fsdp"), 0, torch.device("cpu"), None, str(shared))  # two parts, one worker
    assert_same(whole(alone), weights)
    write(whole_folder, alone)
    assert not (whole_folder / checkpoint.INDEX_FILE).exists()
    assert same(checkpoint.load_state(str(whole_folder)), checkpoint.load_state(str(shared)))

    again, _ = in_two_ranks(trained, store, recipe("fsdp"), tmp_path / "again", str(whole_folder))  # one, two
    assert_same(again[1], weights)
    assert same(checkpoint.load_state(str(tmp_path / "again")), checkpoint.load_state(str(shared)))


def assert_same(found: Weights, expected: Weights) -> None:
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


def same(one: checkpoint.State, other: checkpoint.State) -> bool:
    """Step, optimiser and objectives, to the bit."""
    ours, theirs = (dataclasses.asdict(state) for state in (one, other))
    return all(_same(ours[name], theirs[name]) for name in ("step", "optimizer", "objectives"))


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    return torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other
