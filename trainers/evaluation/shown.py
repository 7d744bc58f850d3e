"""What collecting sees: a model with its weights on its device, and one batch of held-out clips in front of it."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pyarrow as pa
import torch
from jaxtyping import Float
from torch import Tensor

from trainers.data.batch import Batch
from trainers.evaluation.protocol import HeldOut
from trainers.system_settings import SystemSettings

T = TypeVar("T")


@dataclass(frozen=True)
class Loaded:
    """A model in evaluation mode. Nothing is said of it here: what it must offer, a protocol says."""

    model: Any
    system: SystemSettings
    """Its sizes."""
    device: torch.device
    held_out: HeldOut


@dataclass(frozen=True)
class Shown:
    """One batch of clips in front of one model, shared by all that collect from it."""

    loaded: Loaded
    rows: pa.Table
    """The clips as they are stored, without their frames."""
    batch: Batch
    """On the device; `inputs` is None unless the evaluation names what the system reads of a row."""
    pixels: Float[Tensor, "b t 3 h w"]
    """The middle frame of each slice, the central crop, normalised."""
    _made: dict[Hashable, Any] = field(default_factory=dict)

    @property
    def model(self) -> Any:
        """The loaded one."""
        return self.loaded.model

    @property
    def media_uids(self) -> list[str]:
        """Of every clip."""
        uids: list[str] = self.rows["media_uid"].to_pylist()
        return uids

    def once(self, name: Hashable, make: Callable[[], T]) -> T:
        """What `make` gives, computed once for this batch and model whoever asks for it by this name."""
        if name not in self._made:
            self._made[name] = make()
        made: T = self._made[name]
        return made
