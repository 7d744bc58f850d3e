"""A model and its objectives: one batch in, losses by name out."""

import difflib
from collections.abc import Mapping
from typing import Literal

from jaxtyping import Float, Int64
from torch import Tensor, nn

from trainers.batch import Batch
from trainers.models.video_text import VideoTextModel
from trainers.objectives.contrastive import Contrastive
from trainers.objectives.sorting import Sorting
from trainers.probes import temporal_share
from trainers.recipe import Stream

Features = tuple[Float[Tensor, "b d"], Float[Tensor, "b d"]]
"""What an objective compares, one row per clip: of the videos and of the texts. Or gradients at them."""


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

    @property
    def comparing(self) -> dict[str, Contrastive]:
        """Objectives that compare the clips of a batch with each other, and so need all of them at once."""
        return {name: loss for name, loss in self.objectives.items() if isinstance(loss, Contrastive)}

    def forward(
        self,
        stream: Stream,
        batch: Batch,
        pixels: Float[Tensor, "b t 3 h w"],
        pulls: Mapping[str, Features] | None = None,
    ) -> dict[str, Float[Tensor, ""]]:
        """The stream's objectives, unweighted; `pixels`: the batch's frames, cropped and normalised.

        `pulls`: gradients at the features of some objectives, which were computed with clips that are not here; what
        stands for such a loss has these gradients, and no meaning of its own.
        """
        self._check(stream)
        encoded = self.model.encode(pixels, batch.tokens, batch.keep)
        losses = {}
        for name in stream.objectives:
            if pulls and name in pulls:
                losses[name] = _pulled(self.comparing[name].features(encoded), pulls[name])
            else:
                losses[name] = self.objectives[name](self.model, batch, encoded)
        return losses

    def features(
        self, stream: Stream, batch: Batch, pixels: Float[Tensor, "b t 3 h w"]
    ) -> dict[str, Features]:
        """What the stream's comparing objectives compare."""
        encoded = self.model.encode(pixels, batch.tokens, batch.keep)
        return {
            name: self.comparing[name].features(encoded)
            for name in stream.objectives
            if name in self.comparing
        }

    def temporal_share(
        self, pixels: Float[Tensor, "b t 3 h w"], keep: Int64[Tensor, "b n"]
    ) -> Float[Tensor, ""]:
        """How much of what the video tower's attention says is said over time; changes nothing."""
        return temporal_share(self.model.video, pixels, keep)

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


def _pulled(features: Features, gradients: Features) -> Float[Tensor, ""]:
    """A number whose gradients at the features are those given."""
    (video, text), (grad_video, grad_text) = features, gradients
    return (video * grad_video).sum() + (text * grad_text).sum()
