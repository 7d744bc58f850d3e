"""A model and its objectives: one batch in, losses by name out."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from trainers.data.batch import Batch
from trainers.data.inputs import to_unit
from trainers.objectives.objective import (
    Compares,
    Context,
    Features,
    Loss,
    Objective,
    Stateful,
    Taught,
    Teacher,
)
from trainers.recipe import Pixels, Stage, Stream
from trainers.system_settings import SystemSettings


class Task(nn.Module):
    """One step's worth of computing, composed and never subclassed. Both `forward` and `features` go through what wraps
    it for several ranks."""

    def __init__(
        self,
        model: nn.Module,
        objectives: Mapping[str, nn.Module],
        encode: Callable[[Any, Stream, Batch, Tensor], Any],
        target: Callable[[str, Batch], Tensor] | None = None,
        probe: Callable[[Any, Stream, Batch, Tensor], dict[str, Tensor]] | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.objectives = nn.ModuleDict(objectives)
        self._encode, self._target, self._probe = encode, target, probe
        self._step = 0

    @property
    def comparing(self) -> dict[str, Compares]:
        """Objectives that compare the clips of a batch with each other, and so need all of them at once."""
        return {name: each for name, each in self.objectives.items() if isinstance(each, Compares)}

    def forward(
        self,
        stream: Stream,
        batch: Batch,
        pixels: Float[Tensor, "b t 3 h w"],
        pulls: Mapping[str, Features] | None = None,
    ) -> dict[str, Loss]:
        """The stream's objectives, unweighted; `pixels`: the batch's frames, cut and normalised.

        `pulls`: gradients at the features of some objectives, which were computed with clips that are not here; what
        stands for such a loss has these gradients, and no meaning of its own.
        """
        context = self._context(stream, batch, pixels)
        return {name: self._loss(name, context, (pulls or {}).get(name)) for name in stream.objectives}

    def counted(self, name: str, batch: Batch) -> Float[Tensor, ""]:
        """What an objective that compares nothing would count in a batch."""
        objective = self.objectives[name]
        assert isinstance(objective, Objective)
        return objective.count(batch)

    def _loss(self, name: str, context: Context, pull: Features | None) -> Loss:
        objective = self.objectives[name]
        if not isinstance(objective, Compares):
            return Loss(objective(context), self.counted(name, context.batch))
        features = objective.features(context)
        if pull is not None:
            return Loss(_pulled(features, pull), None)
        return Loss(objective.over_ranks(features, context.inputs, context.valid), None)

    def features(
        self, stream: Stream, batch: Batch, pixels: Float[Tensor, "b t 3 h w"]
    ) -> dict[str, dict[str, Tensor]]:
        """What the stream's comparing objectives compare."""
        context = self._context(stream, batch, pixels)
        comparing = self.comparing
        return {name: comparing[name].features(context) for name in stream.objectives if name in comparing}

    def _context(self, stream: Stream, batch: Batch, pixels: Tensor) -> Context:
        made: dict[str, Tensor] = {}

        def target(name: str) -> Tensor:
            assert self._target is not None, f"no teacher makes the target {name!r}"
            if name not in made:
                made[name] = self._target(name, batch)
            return made[name]

        encoded = self._encode(self.model, stream, batch, pixels)
        return Context(self.model, stream, batch, pixels, encoded, self._step, target)

    def probe(self, stream: Stream, clip: Batch, pixels: Float[Tensor, "1 t 3 h w"]) -> dict[str, Tensor]:
        """What the system watches, of one clip; changes nothing."""
        return self._probe(self.model, stream, clip, pixels) if self._probe else {}

    def before_step(self, step: int) -> None:
        """Called with the number of steps done, before each."""
        self._step = step
        for each in self.objectives.values():
            if isinstance(each, Stateful):
                each.before_step(self.model, step)

    def after_step(self, taken: Float[Tensor, ""]) -> None:
        """Called after each step; `taken`: 1.0, or 0.0 where it was skipped."""
        for each in self.objectives.values():
            if isinstance(each, Stateful):
                each.after_step(taken)


class Targets:
    """Targets of teachers, which are frozen, on the device, and in no module: nothing trains, shards or saves them."""

    def __init__(self, teachers: Mapping[str, Teacher], side: int, pixels: Pixels) -> None:
        self._teachers, self._side, self._pixels = dict(teachers), side, pixels

    def __call__(self, name: str, batch: Batch) -> Tensor:
        """The target by the teacher of this name, of the batch's frames in [0, 1]."""
        return self._teachers[name](to_unit(batch.clips.frames, self._side, self._pixels)).detach()


def task_of(
    system: SystemSettings, stage: Stage, model: nn.Module, pixels: Pixels, device: torch.device
) -> Task:
    """The task of a stage on a device: its objectives, built around the model, and their teachers beside it."""
    torch_side = system.built()
    objectives = {each.name: each.built()(each, model) for each in stage.objectives}
    teachers: dict[str, Teacher] = {}
    for each in objectives.values():
        if isinstance(each, Taught):
            teachers |= each.teachers(device)
    targets = Targets(teachers, system.image_size, pixels)
    return Task(model, objectives, torch_side.encode, targets, torch_side.probe).to(device)


def _pulled(features: Features, gradients: Features) -> Float[Tensor, ""]:
    """A number whose gradients at the features are those given."""
    pulled = [(features[name] * gradient).sum() for name, gradient in gradients.items()]
    total: Tensor = sum(pulled[1:], pulled[0])
    return total
