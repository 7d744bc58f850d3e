"""Clips against texts, over the batches of all ranks and in blocks (TVTSv2, section 7)."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from trainers.objectives.objective import Context, Features
from trainers.objectives.settings import Contrastive
from trainers.ranks import gather, num_ranks, own_rank, sum_over_ranks

BLOCK = 2048
"""Rows and columns of the similarities that exist at a time: 16 MiB in fp32."""


def info_nce(
    video: Float[Tensor, "b d"], text: Float[Tensor, "b d"], temperature: float, valid: Bool[Tensor, " b"]
) -> Float[Tensor, ""]:
    """The contrastive loss of all ranks' pairs: the mean cross entropy of videos among texts plus that of texts among
    videos (added, not averaged, as published). Pairs that are not valid do not exist.

    The value is the same on all ranks; its gradient is the exact one of this rank's features. No rank holds or computes
    more than its own rows of the similarities, and these in blocks, so memory grows with N, not N².
    """
    lengths = valid.to(video.dtype)
    loss: Tensor = _InfoNce.apply(_scaled(video, lengths / temperature), _scaled(text, lengths), valid)
    return loss


def unit(x: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    """Rows of length one; lengths are clamped below at 1e-8."""
    return F.normalize(x, dim=-1, eps=1e-8)


def _scaled(x: Float[Tensor, "n d"], lengths: Float[Tensor, " n"]) -> Float[Tensor, "n d"]:
    """Rows of these lengths, in one pass; the gradient of a row that is to have none is zero."""
    own_lengths: Tensor = torch.linalg.vector_norm(x, dim=-1).clamp(min=1e-8)
    return x * (lengths / own_lengths)[:, None]


class _InfoNce(torch.autograd.Function):
    """Backward knows the normalisers of all rows and columns, and computes the similarities again."""

    @staticmethod
    def forward(ctx: Any, video: Tensor, text: Tensor, valid: Tensor) -> Tensor:
        own = slice(own_rank() * len(text), (own_rank() + 1) * len(text))
        sims = _Similarities(video, gather(text), _shift(valid, video), _shift(gather(valid), video))
        row_sums, column_sums = _log_sums(sims)
        column_sums = gather(column_sums[None]).logsumexp(0)
        losses = row_sums + column_sums[own] - 2 * (video * text).sum(1)
        total, count = sum_over_ranks(
            torch.stack([losses.masked_fill(~valid, 0.0).sum(), valid.sum().to(losses)])
        )
        ctx.own, ctx.count = own, count.clamp(min=1)
        ctx.save_for_backward(*sims, _or_infinite(row_sums), _or_infinite(column_sums))
        loss: Tensor = total / ctx.count
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        *parts, row_sums, column_sums = ctx.saved_tensors
        video, texts, *_ = sims = _Similarities(*parts)
        grad_video, grad_texts = torch.zeros_like(video), torch.zeros_like(texts)
        for rows, columns, block in sims.blocks():
            weights = (block - row_sums[rows, None]).exp_()  # probabilities among texts, then among videos
            weights += block.sub_(column_sums[columns]).exp_()
            grad_video[rows].addmm_(weights, texts[columns])
            grad_texts[columns].addmm_(weights.T, video[rows])
        grad_video.sub_(texts[ctx.own], alpha=2)
        grad_texts[ctx.own].sub_(video, alpha=2)
        scale = grad / ctx.count
        return grad_video.mul_(scale), sum_over_ranks(grad_texts)[ctx.own].mul_(scale), None


class _Similarities(NamedTuple):
    """Of this rank's videos (rows) and all texts (columns), -inf where one of them is not valid."""

    video: Tensor
    texts: Tensor
    row_shift: Tensor
    column_shift: Tensor

    def blocks(self) -> Iterator[tuple[slice, slice, Tensor]]:
        """Rows, columns and similarities of each block."""
        for row in range(0, len(self.video), BLOCK):
            for column in range(0, len(self.texts), BLOCK):
                rows, columns = slice(row, row + BLOCK), slice(column, column + BLOCK)
                block = torch.addmm(self.column_shift[columns], self.video[rows], self.texts[columns].T)
                block += self.row_shift[rows, None]
                yield rows, columns, block


def _log_sums(sims: _Similarities) -> tuple[Float[Tensor, " b"], Float[Tensor, " n"]]:
    """Log of the sum of the exponentials of every row and of every column."""
    row_sums, column_sums = (torch.full_like(shift, -torch.inf) for shift in sims[2:])
    for rows, columns, block in sims.blocks():
        row_sums[rows] = row_sums[rows].logaddexp(block.logsumexp(1))
        column_sums[columns] = column_sums[columns].logaddexp(block.logsumexp(0))
    return row_sums, column_sums


def _shift(valid: Bool[Tensor, " n"], like: Tensor) -> Float[Tensor, " n"]:
    return like.new_zeros(len(valid)).masked_fill(~valid, -torch.inf)


def _or_infinite(log_sums: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """Of what is not valid, whose sum is empty: infinite, so that probabilities come out as zero, not as nan."""
    return log_sums.masked_fill(log_sums == -torch.inf, torch.inf)


class ContrastiveLoss(nn.Module):
    """InfoNCE over all ranks. Averaged over ranks by data parallelism, its gradient is 1/W of the written loss's: the
    published rule. "summed" makes it the written loss's.

    The system's encoding has `video.pooled` [b, d] and `texts` [b, k, d].
    """

    def __init__(self, settings: Contrastive, model: nn.Module) -> None:
        super().__init__()
        self.settings = settings

    def features(self, context: Context) -> dict[str, Tensor]:
        """What the loss compares: one feature per clip, and the mean of its texts' raw features, in fp32."""
        encoded = context.encoded
        return {"video": encoded.video.pooled.float(), "text": encoded.texts.float().mean(dim=1)}

    def over_ranks(self, features: Features, inputs: Any, valid: Bool[Tensor, " b"]) -> Float[Tensor, ""]:
        """Value: the loss of all ranks' pairs, equal on all. Gradient: by the gather rule."""
        video, text = features["video"], features["text"]
        with torch.autocast(video.device.type, enabled=False):
            loss = info_nce(video, text, self.settings.temperature, valid)
            scaled = num_ranks() * loss if self.settings.gather == "summed" else loss
            value: Tensor = scaled + (loss - scaled).detach()
        return value
