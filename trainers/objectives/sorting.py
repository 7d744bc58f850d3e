"""Which transcript comes when (TVTSv2, sections 6 and 7)."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from trainers.batch import Batch
from trainers.gathering import num_ranks, sum_over_ranks
from trainers.models.video_text import Encoded, VideoTextModel


def sorting_losses(logits: Float[Tensor, "b k places"]) -> Float[Tensor, " b"]:
    """Mean cross entropy of each clip's K transcripts, given in time order: row k belongs to place k."""
    place = torch.arange(logits.shape[1], device=logits.device).expand(logits.shape[:2])
    return F.cross_entropy(logits.float().transpose(1, 2), place, reduction="none").mean(dim=1)


def mean_over_valid(losses: Float[Tensor, " b"], valid: Bool[Tensor, " b"]) -> Float[Tensor, ""]:
    """This rank's sum by the mean count of valid rows per rank; averaged over ranks, the mean of all."""
    count = sum_over_ranks(valid.sum().float()) / num_ranks()
    return losses.masked_fill(~valid, 0.0).sum() / count.clamp(min=1.0 / num_ranks())


class Sorting(nn.Module):
    """Cross entropy of the sorting head; its gradient reaches the video tower, never the text tower."""

    def forward(self, model: VideoTextModel, batch: Batch, encoded: Encoded) -> Float[Tensor, ""]:
        """Mean over this rank's transcripts (the published weight 2 is the stream's); chance is ln K."""
        logits = model.sort(encoded.video, encoded.texts.detach())
        with torch.autocast(logits.device.type, enabled=False):
            return mean_over_valid(sorting_losses(logits), batch.valid)
