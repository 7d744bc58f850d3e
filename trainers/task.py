"""A model and its objectives: one batch in, losses by name out."""

import difflib
from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from trainers.batch import Batch
from trainers.models.video_text import VideoTextModel
from trainers.objectives.contrastive import Contrastive
from trainers.objectives.sorting import Sorting
from trainers.recipe import Stream


class Task(nn.Module):
    """TVTSv2's objectives over one shared encoding of the batch (section 7)."""

    def __init__(
        self, model: VideoTextModel, temperature: float, gather: Literal["published", "summed"]
    ) -> None:
        super().__init__()
        self.model = model
        self.objectives = nn.ModuleDict(
            {"contrastive": Contrastive(temperature, gather), "sorting": Sorting()}
        )

    def forward(
        self, stream: Stream, batch: Batch, pixels: Float[Tensor, "b t 3 h w"]
    ) -> dict[str, Float[Tensor, ""]]:
        """The stream's objectives, unweighted; `pixels`: the batch's frames, cropped and normalised."""
        self._check(stream)
        encoded = self.model.encode(pixels, batch.tokens, batch.keep)
        return {name: self.objectives[name](self.model, batch, encoded) for name in stream.objectives}

    def before_step(self) -> None:
        """What objectives with a state of their own do before a step; TVTSv2's have none."""

    def after_step(self) -> None:
        """What objectives with a state of their own do after a step; TVTSv2's have none."""

    def _check(self, stream: Stream) -> None:
        for name in stream.objectives:
            if name not in self.objectives:
                near = difflib.get_close_matches(name, list(self.objectives), n=1)
                meant = (
                    f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(self.objectives)}"
                )
                raise ValueError(f"stream {stream.name!r}: objectives names an unknown {name!r}{meant}")
