"""The blocks of a tower or head: what runs them one after another, and how much they keep for the backward pass."""

from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


class Blocks(nn.ModuleList):
    """Blocks run in turn; their parameters are named as in any list.

    A block that is frozen, and below which nothing is trained, keeps nothing: torch records no graph where no input
    needs a gradient.
    """

    recompute = False
    """Keep only what goes into each block, and run it again in the backward pass, with the random numbers of the first
    run."""

    def forward(self, x: Tensor, *rest: Any, count: int | None = None) -> Tensor:
        """`x` through the first `count` blocks (None: all), each of which also reads `rest`."""
        for block in islice(self, count):
            if self.recompute and torch.is_grad_enabled():
                x = checkpoint(block, x, *rest, use_reentrant=False)
            else:
                x = block(x, *rest)
        return x


def recompute_activations(model: nn.Module) -> None:
    """Of all blocks of the model."""
    for module in model.modules():
        if isinstance(module, Blocks):
            module.recompute = True


def compile_blocks(model: nn.Module) -> None:
    """With torch.compile, block by block: blocks of one kind and size share what is compiled. Hooks around a block,
    such as those that gather sharded weights, stay outside."""
    for module in model.modules():
        if isinstance(module, Blocks):
            for block in module:
                block.forward = torch.compile(block.forward)
