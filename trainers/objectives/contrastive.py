"""Clips against texts, over the batches of all ranks (TVTSv2, section 7)."""

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from trainers.batch import Batch
from trainers.gathering import gather_rows, num_ranks, own_rank, sum_over_ranks
from trainers.models.video_text import Encoded, VideoTextModel


def unit(x: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    """Rows of length one; lengths are clamped below at 1e-8."""
    return F.normalize(x, dim=-1, eps=1e-8)


def info_nce(
    video: Float[Tensor, "n d"],
    text: Float[Tensor, "n d"],
    temperature: float,
    valid: Bool[Tensor, " n"],
    own: Int64[Tensor, " b"],
) -> Float[Tensor, ""]:
    """What the pairs numbered `own` add to the contrastive loss of n pairs.

    The loss is the mean cross entropy of videos among texts plus that of texts among videos: added, not
    averaged, as published. Pairs that are not valid do not exist.
    """
    video, text = unit(video), unit(text)
    losses = _among(video[own], text, own, temperature, valid) + _among(
        text[own], video, own, temperature, valid
    )
    return losses.masked_fill(~valid[own], 0.0).sum() / valid.sum().clamp(min=1)


def _among(
    queries: Float[Tensor, "b d"],
    candidates: Float[Tensor, "n d"],
    own: Int64[Tensor, " b"],
    temperature: float,
    valid: Bool[Tensor, " n"],
) -> Float[Tensor, " b"]:
    logits = queries @ candidates.T / temperature  # (b, n)
    logits = logits.masked_fill(~valid, torch.finfo(logits.dtype).min)
    return F.cross_entropy(logits, own, reduction="none")


class Contrastive(nn.Module):
    """InfoNCE over all ranks; each computes only its own rows and columns, so memory grows with N, not N².

    The parts add up to the loss as written. Averaged over ranks by data parallelism, their gradient is 1/W of
    the written loss's: the published rule. "summed" makes it the written loss's.
    """

    def __init__(self, temperature: float, gather: Literal["published", "summed"]) -> None:
        super().__init__()
        self.temperature = temperature
        self.gather = gather

    def forward(self, model: VideoTextModel, batch: Batch, encoded: Encoded) -> Float[Tensor, ""]:
        """The loss over all ranks; a clip's text is the mean of its texts' raw features."""
        with torch.autocast(batch.frames.device.type, enabled=False):
            text = encoded.texts.float().mean(dim=1)
            return self.over_ranks(encoded.video.pooled.float(), text, batch.valid)

    def over_ranks(
        self, video: Float[Tensor, "b d"], text: Float[Tensor, "b d"], valid: Bool[Tensor, " b"]
    ) -> Float[Tensor, ""]:
        """Value: the loss of all ranks' pairs, equal on all. Gradient: that of this rank's part of it."""
        known = valid[:, None].float()
        everyone = gather_rows(torch.cat([video, text, known], dim=1))
        videos, texts, known = everyone.split([video.shape[1], text.shape[1], 1], dim=1)
        own = own_rank() * len(video) + torch.arange(len(video), device=video.device)
        part = info_nce(videos, texts, self.temperature, known[:, 0] > 0.5, own)
        scaled = part * num_ranks() if self.gather == "summed" else part
        value: Tensor = scaled + (sum_over_ranks(part) - scaled).detach()
        return value
