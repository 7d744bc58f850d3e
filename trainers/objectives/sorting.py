"""Which transcript comes when (TVTSv2, sections 6 and 7)."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from trainers.data.batch import Batch
from trainers.objectives.objective import Context
from trainers.objectives.settings import Sorting


def sorting_losses(logits: Float[Tensor, "b k places"]) -> Float[Tensor, " b"]:
    """Mean cross entropy of each clip's K transcripts, given in time order: row k belongs to place k."""
    place = torch.arange(logits.shape[1], device=logits.device).expand(logits.shape[:2])
    return F.cross_entropy(logits.float().transpose(1, 2), place, reduction="none").mean(dim=1)


class SortingLoss(nn.Module):
    """Cross entropy of the sorting head; its gradient reaches the video tower, never the text tower.

    The model has `sort(video, texts)`. ValueError for one without a sorting head.
    """

    def __init__(self, settings: Sorting, model: nn.Module) -> None:
        super().__init__()

    def forward(self, context: Context) -> Float[Tensor, ""]:
        """Sum over the clips of the mean over their transcripts; chance is ln K a clip. (The published weight 2 is the
        stream's.)"""
        logits = context.model.sort(context.encoded.video, context.encoded.texts.detach())
        with torch.autocast(logits.device.type, enabled=False):
            return sorting_losses(logits).masked_fill(~context.valid, 0.0).sum()

    def count(self, batch: Batch) -> Float[Tensor, ""]:
        """The clips that could be read."""
        return batch.clips.valid.sum().float()
