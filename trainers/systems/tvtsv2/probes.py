"""What is measured beside the training, without changing it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from trainers.models.towers.video import Block, VideoTransformer


@torch.no_grad()
def temporal_share(
    tower: VideoTransformer, pixels: Float[Tensor, "b t 3 h w"], keep: Int64[Tensor, "b n"]
) -> Float[Tensor, ""]:
    """How much of what attention adds to the patches comes from attention over time, 0 to 1; the mean over blocks.

    In a block of TVTSv2 (3.4) it acts through the input of the spatial attention alone, so it is what that puts out
    beyond what it would have put out without it: d / (d + |s0|), d = |s - s0|. The size of the temporal module's own
    output would not do: as published it grows along the direction that the LayerNorm behind removes. A pass of its own;
    0 at the published start.
    """
    shares: list[Tensor] = []

    def note(block: nn.Module, inputs: Any) -> None:
        assert isinstance(block, Block)
        x, num_frames = inputs
        over_time = block.timeattn(block.ln_3(x), num_frames)
        added = block.attn(block.ln_1(x + over_time), num_frames)
        shares.append(share_of_change(added[:, 1:], block.attn(block.ln_1(x), num_frames)[:, 1:]))

    with torch.compiler.set_stance("force_eager"), _before_each(tower.blocks, note):
        tower(pixels, keep)  # what was compiled knows nothing of the hooks
    return torch.stack(shares).mean()


def share_of_change(changed: Float[Tensor, "*shape"], plain: Float[Tensor, "*shape"]) -> Float[Tensor, ""]:
    """|changed - plain| beside |plain|: 0 where they are equal, 1 where there is nothing but the change."""
    change, before = (changed.float() - plain.float()).norm(), plain.float().norm()
    share: Tensor = change / (change + before).clamp(min=torch.finfo(torch.float32).tiny)
    return share


@contextmanager
def _before_each(modules: nn.ModuleList, note: Any) -> Iterator[None]:
    """Call `note` with a module and its inputs before each is called; sharded weights are whole by then."""
    hooks = [module.register_forward_pre_hook(note) for module in modules]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
