"""What objectives are given and what they owe. A module is built as (settings, model); its parameters and buffers are
its state, which checkpoints keep and exports leave out."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from trainers.data.batch import Batch
from trainers.recipe import Stream

Features = Mapping[str, Tensor]
"""What a comparing objective compares, by its own names, a row per clip. Or gradients at them."""
Teacher = Callable[[Float[Tensor, "b t 3 h w"]], Tensor]
"""Frames in [0, 1] -> a target; its own normalisation inside. It is frozen, and no part of the task."""


class Loss(NamedTuple):
    """A sum and what it is a sum over (clips, tokens, pairs). Parts and ranks divide by the global count."""

    sum: Float[Tensor, ""]
    num: Float[Tensor, ""] | None
    """Of this rank's part; None: `sum` is the value of the whole global batch already, equal on all ranks."""


@dataclass(frozen=True)
class Context:
    """What the objectives of one pass have in common."""

    model: Any
    stream: Stream
    batch: Batch
    pixels: Float[Tensor, "b t 3 h w"]
    """The batch's frames, cut and normalised."""
    encoded: Any
    """What the system made of the batch, once for all."""
    step: int
    target: Callable[[str], Tensor]
    """The target of a teacher by name, made when it is first asked for."""
    shared: dict[str, Any] = field(default_factory=dict)
    """What objectives leave for those that come after them in the stream's order, within this pass."""

    @property
    def inputs(self) -> Any:
        """The system's own part of the batch."""
        return self.batch.inputs

    @property
    def valid(self) -> Bool[Tensor, " b"]:
        """Which clips could be read; the others take no part."""
        return self.batch.clips.valid


@runtime_checkable
class Objective(Protocol):
    """Computed of parts of a batch by themselves."""

    def __call__(self, context: Context) -> Float[Tensor, ""]:
        """The sum over what it counts, in fp32."""
        ...

    def count(self, batch: Batch) -> Float[Tensor, ""]:
        """How much it sums over, known from the batch alone: parts need that of all before their first gradient."""
        ...


@runtime_checkable
class Compares(Protocol):
    """Compares the clips of the whole global batch with each other, by features of each."""

    def features(self, context: Context) -> dict[str, Tensor]:
        """What is compared; a batch in parts makes them part by part."""
        ...

    def over_ranks(self, features: Features, inputs: Any, valid: Bool[Tensor, " b"]) -> Float[Tensor, ""]:
        """The value for the global batch, equal on all ranks, of this rank's features, inputs and valid clips.
        Gradients at the features are averaged over ranks afterwards, as all gradients."""
        ...


@runtime_checkable
class Taught(Protocol):
    """Learns from what frozen teachers say of the frames: `context.target(name)`."""

    def teachers(self, device: torch.device) -> Mapping[str, Teacher]:
        """Its teachers by name, on the device; made once per start. None of them is part of the objective."""
        ...


@runtime_checkable
class Stateful(Protocol):
    """Has a state that follows the training: momentum copies, queues."""

    def before_step(self, model: nn.Module, step: int) -> None:
        """Before the batch is seen; the model has the weights of `step` steps."""
        ...

    def after_step(self, taken: Float[Tensor, ""]) -> None:
        """After it: `taken` is 1.0, or 0.0 on the device where the step was skipped, and then nothing may change."""
        ...
