"""The contrastive loss as it is written, with all similarities at once (TVTSv2, section 7)."""

import torch
import torch.nn.functional as F
from torch import Tensor


def dense(video: Tensor, text: Tensor, temperature: float, valid: Tensor) -> Tensor:
    """Of the valid pairs; zero without one."""
    if not valid.any():
        return (video + text).sum() * 0.0
    video, text = F.normalize(video[valid], eps=1e-8), F.normalize(text[valid], eps=1e-8)
    logits = video @ text.T / temperature
    own = torch.arange(len(logits))
    return F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)
