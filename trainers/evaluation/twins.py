"""Twins: two clips that show the same events in another order, each with its own text."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def twin_accuracy(videos: Float[Tensor, "pairs 2 d"], texts: Float[Tensor, "pairs 2 d"]) -> float:
    """Percent of texts that are nearer (by cosine) to their own clip than to its twin; a tie counts half.

    Features that know nothing of order give 50.
    """
    similarity = F.normalize(texts, dim=-1) @ F.normalize(videos, dim=-1).transpose(
        1, 2
    )  # (pairs, text, video)
    own = similarity.diagonal(dim1=1, dim2=2)
    twin = similarity.flip(2).diagonal(dim1=1, dim2=2)
    return 100 * float(((own > twin).double() + (own == twin).double() / 2).mean())
