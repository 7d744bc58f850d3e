"""What the ranks of a training group know together; without a group, what the one process knows."""

from typing import Any

import torch
import torch.distributed as dist
from jaxtyping import Float, Shaped
from torch import Tensor


def num_ranks() -> int:
    """Size of the training group; 1 without one."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def own_rank() -> int:
    """This process's number in the group; 0 without one."""
    return dist.get_rank() if num_ranks() > 1 else 0


def gather_rows(rows: Float[Tensor, "b d"]) -> Float[Tensor, "n d"]:
    """The rows of all ranks, rank by rank; backward sums the gradients that the ranks give to a row."""
    if num_ranks() == 1:
        return rows
    gathered: Tensor = _GatherRows.apply(rows)
    return gathered


def sum_over_ranks(value: Shaped[Tensor, "*shape"]) -> Shaped[Tensor, "*shape"]:
    """The sum over ranks, without a gradient."""
    total = value.detach().clone()
    if num_ranks() > 1:
        dist.all_reduce(total)
    return total


class _GatherRows(torch.autograd.Function):
    """Each rank computes a part of the loss, so the gradient of a row is spread over the ranks."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        everyone = [torch.empty_like(rows) for _ in range(num_ranks())]
        dist.all_gather(everyone, rows.contiguous())
        return torch.cat(everyone)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        summed = grads[0].contiguous()
        dist.all_reduce(summed)
        return summed.chunk(num_ranks())[own_rank()]
