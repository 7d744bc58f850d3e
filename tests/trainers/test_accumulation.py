"""A batch in parts has the losses and the gradients of the whole, in one process and in two."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.testing import assert_close

from tests.trainers.ranks import in_two_ranks
from tests.trainers.small_models import small_batch, small_model, small_pixels
from tests.trainers.tiny import training
from trainers.accumulation import Computing, backward_in_parts, split, weighted_sum
from trainers.batch import Batch
from trainers.loop import build_learner
from trainers.recipe import Stream
from trainers.task import Task

NARRATED = Stream("narrated", 8, "transcripts", {"contrastive": 1.0, "sorting": 2.0})
CAPTIONED = replace(NARRATED, objectives={"contrastive": 1.0})
SORTED = replace(NARRATED, objectives={"sorting": 1.0})
Named = dict[str, NDArray[np.float32]]


def batch() -> Batch:
    """Three of the four unreadable rows are in the second half; of the last third none can be read."""
    return replace(small_batch(8), valid=torch.tensor([1, 1, 0, 1, 1, 1, 0, 0], dtype=torch.bool))


def whole(task: Task, forward: nn.Module, stream: Stream, rows: Batch) -> tuple[Named, Named]:
    losses = forward(stream, rows, pixels_of(rows))
    weighted_sum(stream, losses).backward()
    return numbers(losses), gradients(task)


def in_parts(task: Task, forward: nn.Module, stream: Stream, rows: Batch, count: int) -> tuple[Named, Named]:
    computing = Computing(
        lambda stream, part: task.features(stream, part, pixels_of(part)),
        lambda stream, part, pulls: forward(stream, part, pixels_of(part), pulls),
    )
    losses = backward_in_parts(task, forward, computing, stream, rows, count)
    return numbers(losses), gradients(task)


def pixels_of(rows: Batch) -> torch.Tensor:
    return small_pixels(8)[rows.position]


def numbers(losses: dict[str, torch.Tensor]) -> Named:
    return {name: loss.detach().numpy().copy() for name, loss in losses.items()}


def gradients(task: Task) -> Named:
    named = task.model.named_parameters()
    return {name: p.grad.numpy().copy() for name, p in named if p.grad is not None}


def close(found: tuple[Named, Named], expected: tuple[Named, Named]) -> None:
    """To a millionth of the largest loss, and of the largest gradient."""
    assert found[1].keys() == expected[1].keys()
    for ours, theirs in zip(found, expected, strict=True):
        tolerance = 1e-6 * max(float(np.abs(value).max()) for value in theirs.values())
        for name, value in theirs.items():
            np.testing.assert_allclose(ours[name], value, rtol=1e-6, atol=tolerance, err_msg=name)


@pytest.mark.parametrize("stream", [NARRATED, CAPTIONED, SORTED], ids=["both", "contrastive", "sorting"])
def test_three_parts_give_the_losses_and_gradients_of_the_whole_batch(stream: Stream) -> None:
    undivided, divided = Task(small_model(), 0.05, "published"), Task(small_model(), 0.05, "published")
    close(in_parts(divided, divided, stream, batch(), 3), whole(undivided, undivided, stream, batch()))


def test_a_batch_has_no_more_parts_than_clips() -> None:
    assert [len(part.valid) for part in split(batch(), 3)] == [3, 3, 2]
    assert [len(part.valid) for part in split(batch(), 100)] == [1] * 8


def test_what_is_not_finite_in_one_part_spoils_the_gradients() -> None:
    task = Task(small_model(), 0.05, "published")
    with torch.no_grad():
        task.model.sorting.head.bias.fill_(torch.inf)
    losses, found = in_parts(task, task, NARRATED, batch(), 2)
    assert np.isnan(losses["sorting"])
    assert np.isnan(found["video.projection"]).all()


@pytest.mark.parametrize("settings", [{"parts": 3}, {"checkpoint_activations": True}], ids=str)
def test_how_a_learner_is_launched_does_not_change_its_gradients(settings: dict[str, int]) -> None:
    recipe, draw = training(1), torch.Generator().manual_seed(0)
    frames = torch.randint(0, 256, (5, 4, 16, 16, 3), dtype=torch.uint8, generator=draw)
    tokens = torch.randint(1, 49000, (5, 4, 6), generator=draw).index_fill(2, torch.tensor([5]), 49407)
    rows = replace(small_batch(5), frames=frames, tokens=tokens, keep=torch.tensor([[0, 3]]).expand(5, -1))
    found = []
    for launch in (recipe.launch, replace(recipe.launch, **settings)):
        learner = build_learner(replace(recipe, launch=launch), 0, torch.device("cpu"), None, None)
        losses = learner.backward(recipe.stages[0].streams[0], rows)
        found.append((numbers(losses), gradients(learner.task)))
    close(found[1], found[0])


def ranks_work(rank: int) -> list[tuple[Named, Named]]:
    own = list(split(batch(), 2))[rank]
    found = []
    for work in (whole, partial(in_parts, count=3)):
        task = Task(small_model(), 0.05, "summed")
        found.append(work(task, DistributedDataParallel(task, find_unused_parameters=True), NARRATED, own))
    return found


def test_two_ranks_with_parts_have_the_averaged_gradients_of_two_without() -> None:
    (undivided, divided), (_, second) = in_two_ranks(ranks_work)
    close(divided, undivided)
    assert_close(divided[1], second[1], rtol=0, atol=0)
