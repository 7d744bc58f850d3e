"""A task that meets clips of which nothing finite can be computed."""

import math
from collections.abc import Mapping
from typing import Any

from torch import nn

from trainers.data.batch import Batch
from trainers.objectives.objective import Loss
from trainers.recipe import Stream


class Spoiled(nn.Module):
    """Losses of the batches of a stream that begin at these positions are NaN on this rank; others are the task's."""

    def __init__(self, forward: nn.Module, positions: Mapping[str, set[int]]) -> None:
        super().__init__()
        self.inner = forward
        self.positions = positions

    def forward(self, stream: Stream, batch: Batch, *rest: Any) -> dict[str, Loss]:
        """The task's losses, spoiled or not."""
        bad = int(batch.clips.position.min()) in self.positions.get(stream.name, ())
        found: dict[str, Loss] = self.inner(stream, batch, *rest)
        return {name: loss._replace(sum=loss.sum * math.nan) if bad else loss for name, loss in found.items()}
