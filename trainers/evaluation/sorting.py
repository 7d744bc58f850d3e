"""How well the sorting head orders the transcripts of a clip (TVTSv2, section 9)."""

import torch
from jaxtyping import Float
from torch import Tensor


def sorting_accuracy(logits: Float[Tensor, "n k places"]) -> dict[str, float]:
    """Percent of transcripts given their place, and of clips with all places right; rows are in time order.

    Chance is 100 / K for a place and, for independent answers, 100 / K**K for a clip.
    """
    right = logits.argmax(dim=-1) == torch.arange(logits.shape[1], device=logits.device)
    return {
        "position": 100 * float(right.double().mean()),
        "all_right": 100 * float(right.all(dim=1).double().mean()),
    }
