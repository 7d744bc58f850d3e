"""The toy's objectives: one counts tokens, one compares and remembers, one has a head, one a teacher."""

import copy
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.trainers.systems.toy.settings import Labels, Memory
from tests.trainers.systems.toy.system import ToyModel
from trainers.data.batch import Batch
from trainers.objectives.objective import Context, Features, Teacher
from trainers.ranks import gather, num_ranks, own_rank, sum_over_ranks


class WordsLoss(nn.Module):
    """Cross entropy of the masked words."""

    def __init__(self, settings: Any, model: nn.Module) -> None:
        super().__init__()

    def forward(self, context: Context) -> Tensor:
        logits, targets = context.model.written(context.encoded.words), context.inputs.targets
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-1, reduction="sum")

    def count(self, batch: Batch) -> Tensor:
        return (batch.inputs.targets >= 0).sum().float()


class MemoryLoss(nn.Module):
    """State: a momentum copy of the model, and the last features that it gave, of all ranks."""

    def __init__(self, settings: Memory, model: ToyModel) -> None:
        super().__init__()
        self.settings = settings
        self.momentum = copy.deepcopy(model).requires_grad_(False)
        self.register_buffer("queue", torch.zeros(settings.queue, model.config.width))
        self.register_buffer("place", torch.zeros((), dtype=torch.int64))
        self._waiting: Tensor | None = None

    def features(self, context: Context) -> dict[str, Tensor]:
        with torch.no_grad():
            film = self.momentum.film(context.pixels)
            theirs = self.momentum.fuse(film, context.inputs.ids)[:, : film.shape[1]].mean(1)
        return {"ours": context.encoded.pooled, "theirs": theirs}

    def over_ranks(self, features: Features, inputs: Any, valid: Tensor) -> Tensor:
        ours, theirs = features["ours"], features["theirs"].detach()
        everyone, there = gather(theirs), gather(valid)
        self._waiting = everyone
        keys = torch.cat([everyone, self.queue])
        known = torch.cat([there, self.queue.any(1)])
        logits = (F.normalize(ours, dim=-1) @ F.normalize(keys, dim=-1).T) / self.settings.temperature
        own = torch.arange(len(ours), device=ours.device) + own_rank() * len(ours)
        losses = F.cross_entropy(logits.masked_fill(~known, -1e4), own, reduction="none")
        total = losses.masked_fill(~valid, 0.0).sum() / sum_over_ranks(valid.sum().float()).clamp(min=1)
        return num_ranks() * total + (sum_over_ranks(total) - num_ranks() * total).detach()

    @torch.no_grad()
    def before_step(self, model: nn.Module, step: int) -> None:
        for copied, own in zip(self.momentum.parameters(), model.parameters(), strict=True):
            copied.lerp_(own.detach(), 1 - self.settings.momentum)

    @torch.no_grad()
    def after_step(self, taken: Tensor) -> None:
        if self._waiting is None:
            return
        places = (self.place + torch.arange(len(self._waiting))) % len(self.queue)
        self.queue[places] = torch.where(taken.bool(), self._waiting, self.queue[places])
        self.place += taken.long() * len(self._waiting)
        self._waiting = None


class LabelsLoss(nn.Module):
    """Its head is trained with the model and stays with the objective."""

    def __init__(self, settings: Labels, model: ToyModel) -> None:
        super().__init__()
        self.head = nn.Linear(model.config.width, settings.labels)

    def forward(self, context: Context) -> Tensor:
        logits = self.head(context.encoded.pooled)
        return F.cross_entropy(logits, context.inputs.label, ignore_index=-1, reduction="sum")

    def count(self, batch: Batch) -> Tensor:
        return (batch.inputs.label >= 0).sum().float()


class Painter(nn.Module):
    """The teacher: the mean colour of a film, in a fixed random basis."""

    def __init__(self, width: int) -> None:
        super().__init__()
        draw = torch.Generator().manual_seed(0)
        self.basis = nn.Parameter(torch.randn(3, width, generator=draw), requires_grad=False)

    def forward(self, frames: Tensor) -> Tensor:
        return frames.mean(dim=(1, 3, 4)) @ self.basis


class ColourLoss(nn.Module):
    """Squared distance from what the teacher says."""

    def __init__(self, settings: Any, model: ToyModel) -> None:
        super().__init__()
        self._width = model.config.width

    def teachers(self, device: torch.device) -> Mapping[str, Teacher]:
        return {"painter": Painter(self._width).to(device)}

    def forward(self, context: Context) -> Tensor:
        far = (context.encoded.pooled - context.target("painter")).square().mean(-1)
        return far.masked_fill(~context.valid, 0.0).sum()

    def count(self, batch: Batch) -> Tensor:
        return batch.clips.valid.sum().float()
