"""What the ranks of a training group know together; without a group, what the one process knows."""

import torch
import torch.distributed as dist
from jaxtyping import Shaped
from torch import Tensor


def num_ranks() -> int:
    """Size of the training group; 1 without one."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def own_rank() -> int:
    """This process's number in the group; 0 without one."""
    return dist.get_rank() if num_ranks() > 1 else 0


def is_shared(value: object) -> bool:
    """Whether each rank holds a part of this tensor (a DTensor, whose module takes a second to import)."""
    return hasattr(value, "full_tensor")


def whole(value: Tensor) -> Tensor:
    """A tensor of which each rank holds a part, put together; all ranks ask together. Others as they are."""
    return value.full_tensor() if is_shared(value) else value  # type: ignore[attr-defined]


def gather(rows: Shaped[Tensor, "*own"]) -> Shaped[Tensor, "*all"]:
    """The rows of all ranks, rank by rank, without a gradient."""
    rows = rows.detach()
    if num_ranks() == 1:
        return rows
    everyone = [torch.empty_like(rows, memory_format=torch.contiguous_format) for _ in range(num_ranks())]
    dist.all_gather(everyone, rows.contiguous())
    return torch.cat(everyone)


def sum_over_ranks(value: Shaped[Tensor, "*shape"]) -> Shaped[Tensor, "*shape"]:
    """The sum over ranks, without a gradient."""
    if num_ranks() == 1:
        return value.detach()
    total = value.detach().clone()
    dist.all_reduce(total)
    return total
