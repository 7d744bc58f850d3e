"""Processes with a part of a batch each, against one process with all of it (TVTSv2, section 7)."""

from functools import cache
from typing import Literal

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from tests.trainers.objectives.dense import dense
from tests.trainers.ranks import in_ranks, in_two_ranks
from tests.trainers.tiny import NARRATED, tiny_batch, tiny_pixels, tiny_task
from trainers.data.batch import Batch
from trainers.loop.parts import means_of
from trainers.loop.task import Task
from trainers.objectives import contrastive
from trainers.objectives.contrastive import ContrastiveLoss
from trainers.objectives.settings import Contrastive

Gather = Literal["published", "summed"]
GATHERS: tuple[Gather, ...] = ("published", "summed")
Gradients = dict[str, NDArray[np.float32]]


def batch() -> Batch:
    """Three of the four unreadable rows are in the second half."""
    return tiny_batch(8, valid=[1, 1, 0, 1, 0, 1, 0, 0])


def gradients(task: Task, forward: nn.Module, part: slice, objective: str) -> tuple[float, Gradients]:
    loss = means_of(forward(NARRATED, batch().rows(part), tiny_pixels(8)[part]))[objective]
    loss.backward()
    named = task.model.named_parameters()
    return loss.item(), {name: p.grad.numpy().copy() for name, p in named if p.grad is not None}


CASES: list[tuple[str, Gather, float]] = [
    ("contrastive", "published", 0.5),
    ("contrastive", "summed", 1.0),
    ("sorting", "published", 1.0),
]


def halves(rank: int) -> list[tuple[float, Gradients]]:
    """One rank's answers to all cases."""
    found = []
    for objective, gather, _ in CASES:
        task = tiny_task(gather=gather)
        parallel = nn.parallel.DistributedDataParallel(task, find_unused_parameters=True)
        found.append(gradients(task, parallel, slice(4 * rank, 4 * rank + 4), objective))
    return found


@cache
def both_ranks() -> list[list[tuple[float, Gradients]]]:
    return in_two_ranks(halves)


@pytest.mark.parametrize(("objective", "gather", "share"), CASES)
def test_two_halves_give_the_gradient_of_the_whole_and_the_published_gather_half_of_it(
    objective: str, gather: Gather, share: float
) -> None:
    alone = tiny_task(gather=gather)
    loss, expected = gradients(alone, alone, slice(None), objective)
    (first, found), (second, same) = (rank[CASES.index((objective, gather, share))] for rank in both_ranks())
    if objective == "contrastive":
        assert first == pytest.approx(loss, rel=1e-5)  # each reports the loss of all ranks
    assert (first + second) / 2 == pytest.approx(loss, rel=1e-5)
    for name, gradient in expected.items():
        np.testing.assert_allclose(found[name], share * gradient, rtol=1e-3, atol=1e-5, err_msg=name)
        np.testing.assert_array_equal(found[name], same[name])


def features() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Twelve pairs, four of them not valid."""
    video, text = torch.randn(2, 12, 16, generator=torch.Generator().manual_seed(0))
    return video, text, torch.tensor([1, 1, 0, 1, 1, 1, 0, 0, 1, 0, 1, 1], dtype=torch.bool)


def part_of_the_loss(rank: int, ranks: int) -> dict[Gather, list[NDArray[np.float32]]]:
    contrastive.BLOCK = 5  # neither a rank's rows nor all rows are a multiple of it
    found: dict[Gather, list[NDArray[np.float32]]] = {}
    for gather in GATHERS:
        video, text, valid = (values.chunk(ranks)[rank].clone() for values in features())
        objective = ContrastiveLoss(Contrastive(gather=gather), nn.Identity())
        both = {"video": video.requires_grad_(), "text": text.requires_grad_()}
        loss = objective.over_ranks(both, None, valid)
        loss.backward()
        found[gather] = [loss.detach().numpy(), video.grad.numpy(), text.grad.numpy()]
    return found


@pytest.mark.parametrize("ranks", [2, 4])
def test_ranks_together_have_the_loss_and_the_gradients_of_the_dense_form(ranks: int) -> None:
    video, text, valid = features()
    whole = dense(video.requires_grad_(), text.requires_grad_(), 0.05, valid)
    whole.backward()
    by_rank = in_ranks(ranks, part_of_the_loss, ranks)
    for gather in GATHERS:
        losses, *gradients = zip(*(found[gather] for found in by_rank), strict=True)
        np.testing.assert_allclose(losses, whole.item(), rtol=1e-6)
        scale = ranks if gather == "summed" else 1
        for found, expected in zip(gradients, (video.grad, text.grad), strict=True):
            np.testing.assert_allclose(np.concatenate(found), scale * expected.numpy(), rtol=1e-5, atol=1e-6)
