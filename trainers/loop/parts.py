"""A batch taken in parts, with the gradient of the whole: features are computed twice (GradCache, arXiv:2101.06983).

First every part's features without a graph, the losses that compare clips with each other on all of them, and their
gradients at the features; then every part with a graph, through which those gradients go back. What is drawn at random
follows from the number of the part, so the second features equal the first.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from trainers.data.batch import Batch, joined
from trainers.loop.guards import unit_or_nan
from trainers.loop.task import Task
from trainers.objectives.objective import Features, Loss
from trainers.ranks import num_ranks, sum_over_ranks
from trainers.recipe import Stream

Losses = dict[str, Tensor]


@dataclass(frozen=True)
class Computing:
    """How one part is computed, by its number: on its device, in its precision, with its random numbers."""

    features: Callable[[Stream, Batch, int], dict[str, dict[str, Tensor]]]
    losses: Callable[[Stream, Batch, int, Mapping[str, Features]], dict[str, Loss]]


def backward_in_parts(
    task: Task, forward: nn.Module, computing: Computing, stream: Stream, parts: list[Batch]
) -> Losses:
    """The batch's losses; the gradients of their weighted sum are added to those of the parameters.

    `forward`: the task, or around it what averages gradients over ranks, which happens once, in the last part.
    """
    whole, pulls = _whole_batch_losses(task, computing, stream, parts)
    own = [name for name in stream.objectives if name not in whole]
    counts = counts_of(
        {name: torch.stack([task.counted(name, part) for part in parts]).sum() for name in own}
    )
    found = []
    for number, part in enumerate(parts):
        with _without_averaging(forward, unless=number + 1 == len(parts)):
            pull = {name: each[number] for name, each in pulls.items()}
            losses = values_of(computing.losses(stream, part, number, pull), counts)
            total = weighted_sum(stream, losses)
            total.backward(unit_or_nan(total))
        found.append({name: loss.detach() for name, loss in losses.items()})
    return {name: torch.stack([each[name] for each in found]).sum() for name in own} | whole


def weighted_sum(stream: Stream, losses: Mapping[str, Tensor]) -> Float[Tensor, ""]:
    """What is minimised."""
    return torch.stack([weight * losses[name] for name, weight in stream.objectives.items()]).sum()


def counts_of(own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What each sum is divided by, of this rank's counts: the mean count per rank, so that the mean over ranks of what
    comes out is the global sum by the global count."""
    if not own:
        return {}
    totals = sum_over_ranks(torch.stack([count.float() for count in own.values()])) / num_ranks()
    totals = totals.clamp(min=1.0 / num_ranks())
    return dict(zip(own, totals.unbind(), strict=True))


def values_of(losses: Mapping[str, Loss], counts: Mapping[str, Tensor]) -> Losses:
    """Losses as they are weighed: sums divided by global counts."""
    return {name: loss.sum if loss.num is None else loss.sum / counts[name] for name, loss in losses.items()}


def means_of(losses: Mapping[str, Loss]) -> Losses:
    """The losses of an undivided batch."""
    counts = {name: loss.num for name, loss in losses.items() if loss.num is not None}
    return values_of(losses, counts_of(counts))


def _whole_batch_losses(
    task: Task, computing: Computing, stream: Stream, parts: list[Batch]
) -> tuple[Losses, dict[str, list[Features]]]:
    """The losses that compare clips with each other, and their gradients at every part's features."""
    names = [name for name in stream.objectives if name in task.comparing]
    if not names:
        return {}, {}
    with torch.no_grad():
        found = [computing.features(stream, part, number) for number, part in enumerate(parts)]
    sizes = [len(part.clips) for part in parts]
    batch = joined(parts)
    losses: Losses = {}
    pulls: dict[str, list[Features]] = {}
    for name in names:
        features = {key: torch.cat([each[name][key] for each in found]) for key in found[0][name]}
        moving = {key: value.requires_grad_() for key, value in features.items() if value.is_floating_point()}
        loss = task.comparing[name].over_ranks(features, batch.inputs, batch.clips.valid)
        gradients = torch.autograd.grad(loss, list(moving.values()), unit_or_nan(loss), allow_unused=True)
        losses[name] = loss.detach()
        split = {
            key: gradient.split(sizes)
            for key, gradient in zip(moving, gradients, strict=True)
            if gradient is not None
        }
        pulls[name] = [{key: each[number] for key, each in split.items()} for number in range(len(parts))]
    return losses, pulls


def _without_averaging(forward: nn.Module, unless: bool) -> AbstractContextManager[None]:
    if unless or not isinstance(forward, DistributedDataParallel):
        return nullcontext()
    return forward.no_sync()
