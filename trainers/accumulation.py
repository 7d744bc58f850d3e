"""A batch taken in parts, with the gradient of the whole: features are computed twice (GradCache, arXiv:2101.06983).

First every part's features without a graph, the losses that compare clips with each other on all of them, and their
gradients at the features; then every part with a graph, through which those gradients go back. Nothing in the model is
drawn at random, and masks come with the batch, so the second features equal the first.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, fields

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from trainers.batch import Batch
from trainers.gathering import sum_over_ranks
from trainers.guards import unit_or_nan
from trainers.recipe import Stream
from trainers.task import Features, Task

Losses = dict[str, Tensor]


@dataclass(frozen=True)
class Computing:
    """How one part is computed: on its device, in its precision."""

    features: Callable[[Stream, Batch], dict[str, Features]]
    losses: Callable[[Stream, Batch, Mapping[str, Features]], Losses]


def backward_in_parts(
    task: Task, forward: nn.Module, computing: Computing, stream: Stream, batch: Batch, count: int
) -> Losses:
    """The batch's losses; the gradients of their weighted sum are added to those of the parameters.

    `forward`: the task, or around it what averages gradients over ranks, which happens once, in the last part.
    """
    parts = list(split(batch, count))
    whole, pulls = _whole_batch_losses(task, computing, stream, parts)
    shares = _shares_of_valid(parts)
    found = []
    for number, part in enumerate(parts):
        own = {name: each[number] for name, each in pulls.items()}
        with _without_averaging(forward, unless=number + 1 == len(parts)):
            losses = computing.losses(stream, part, own)
            for name in losses.keys() - own.keys():
                losses[name] = shares[number] * losses[name]
            weighted_sum(stream, losses).backward(unit_or_nan(weighted_sum(stream, losses)))
        found.append({name: loss.detach() for name, loss in losses.items()})
    return {name: torch.stack([each[name] for each in found]).sum() for name in stream.objectives} | whole


def weighted_sum(stream: Stream, losses: Mapping[str, Tensor]) -> Float[Tensor, ""]:
    """What is minimised."""
    return torch.stack([weight * losses[name] for name, weight in stream.objectives.items()]).sum()


def split(batch: Batch, count: int) -> Iterator[Batch]:
    """Parts of nearly equal size, in order; no more than there are clips."""
    columns = [
        getattr(batch, field.name).tensor_split(min(count, len(batch.valid))) for field in fields(Batch)
    ]
    return (Batch(*values) for values in zip(*columns, strict=True))


def _whole_batch_losses(
    task: Task, computing: Computing, stream: Stream, parts: list[Batch]
) -> tuple[Losses, dict[str, list[Features]]]:
    """The losses that compare clips with each other, and their gradients at every part's features."""
    names = [name for name in stream.objectives if name in task.comparing]
    if not names:
        return {}, {}
    with torch.no_grad():
        found = [computing.features(stream, part) for part in parts]
    sizes = [len(part.valid) for part in parts]
    valid = torch.cat([part.valid for part in parts])
    losses: Losses = {}
    pulls: dict[str, list[Features]] = {}
    for name in names:
        video = torch.cat([each[name][0] for each in found]).requires_grad_()
        text = torch.cat([each[name][1] for each in found]).requires_grad_()
        loss = task.comparing[name].over_ranks(video, text, valid)
        grad_video, grad_text = torch.autograd.grad(loss, (video, text), unit_or_nan(loss))
        losses[name] = loss.detach()
        pulls[name] = list(zip(grad_video.split(sizes), grad_text.split(sizes), strict=True))
    return losses, pulls


def _shares_of_valid(parts: list[Batch]) -> Float[Tensor, " parts"]:
    """What weight the mean over a part's valid clips has in the mean over the batch's, all ranks together."""
    counts = sum_over_ranks(torch.stack([part.valid.sum() for part in parts]).float())
    return counts / counts.sum().clamp(min=1)


def _without_averaging(forward: nn.Module, unless: bool) -> AbstractContextManager[None]:
    if unless or not isinstance(forward, DistributedDataParallel):
        return nullcontext()
    return forward.no_sync()
