"""Two processes with half of a batch each, against one process with all of it (TVTSv2, section 7)."""

from dataclasses import fields, replace
from typing import Literal

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from tests.trainers.ranks import in_two_ranks
from tests.trainers.small_models import small_batch, small_model, small_pixels
from trainers.batch import Batch
from trainers.recipe import Stream
from trainers.task import Task

STREAM = Stream("narrated", 8, "transcripts", {"contrastive": 1.0, "sorting": 2.0})
Gather = Literal["published", "summed"]
Gradients = dict[str, NDArray[np.float32]]


def batch() -> Batch:
    """Three of the four unreadable rows are in the second half."""
    return replace(small_batch(8), valid=torch.tensor([1, 1, 0, 1, 0, 1, 0, 0], dtype=torch.bool))


def gradients(task: Task, forward: nn.Module, part: slice, objective: str) -> tuple[float, Gradients]:
    whole = batch()
    own = Batch(**{field.name: getattr(whole, field.name)[part] for field in fields(Batch)})
    loss = forward(STREAM, own, small_pixels(8)[part])[objective]
    loss.backward()
    named = task.model.named_parameters()
    return loss.item(), {name: p.grad.numpy().copy() for name, p in named if p.grad is not None}


def half(rank: int, gather: Gather, objective: str) -> tuple[float, Gradients]:
    task = Task(small_model(), 0.05, gather)
    parallel = nn.parallel.DistributedDataParallel(task, find_unused_parameters=True)
    return gradients(task, parallel, slice(4 * rank, 4 * rank + 4), objective)


@pytest.mark.parametrize(
    ("objective", "gather", "share"),
    [("contrastive", "published", 0.5), ("contrastive", "summed", 1.0), ("sorting", "published", 1.0)],
)
def test_two_halves_give_the_gradient_of_the_whole_and_the_published_gather_half_of_it(
    objective: str, gather: Gather, share: float
) -> None:
    alone = Task(small_model(), 0.05, gather)
    loss, expected = gradients(alone, alone, slice(None), objective)
    (first, found), (second, same) = in_two_ranks(half, gather, objective)
    if objective == "contrastive":
        assert first == pytest.approx(loss, rel=1e-5)  # each reports the loss of all ranks
    assert (first + second) / 2 == pytest.approx(loss, rel=1e-5)
    for name, gradient in expected.items():
        np.testing.assert_allclose(found[name], share * gradient, rtol=1e-3, atol=1e-6, err_msg=name)
        np.testing.assert_array_equal(found[name], same[name])
