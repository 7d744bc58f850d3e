"""Fresh weights: CLIP's own start for the towers, the published start for the temporal modules."""

import torch
from torch import nn

from trainers.models.layers import Attention, SharedClassAttention, TransformerBlock
from trainers.models.sizes import DualEncoder, TemporalStart
from trainers.models.towers.text import TextTransformer
from trainers.models.towers.video import Block, VideoTransformer


@torch.no_grad()
def start_fresh(video: VideoTransformer, text: TextTransformer, config: DualEncoder) -> None:
    """Draw both towers from torch's current random state; the sorting head keeps torch's default start."""
    _start_video(video, config)
    _start_text(text, config)
    start_temporal(video, config)


@torch.no_grad()
def start_temporal(video: VideoTransformer, config: DualEncoder) -> None:
    """What CLIP does not cover: temporal table, `timeattn` and `ln_3` of every block (TVTSv2, 3.4, 3.6)."""
    std = config.video.temporal_start_std
    nn.init.normal_(video.temporal_embedding, std=config.video.width**-0.5 if std is None else std)
    start_temporal_attention(video, config.video.temporal_start)


@torch.no_grad()
def start_temporal_attention(video: VideoTransformer, start: TemporalStart) -> None:
    """`timeattn` and `ln_3` of every block. All but the published start read the block's spatial weights, so it
    comes after those are there; whatever the start, the modules say nothing until the first step.
    """
    for block in video.blocks:
        assert isinstance(block, Block)
        nn.init.ones_(block.ln_3.weight)
        nn.init.zeros_(block.ln_3.bias)
        nn.init.zeros_(block.timeattn.proj.bias)
        if start == "as_published":
            _start_tied(block.timeattn)
        else:
            block.timeattn.qkv.load_state_dict(block.attn.qkv.state_dict())
            nn.init.zeros_(block.timeattn.proj.weight)


def _start_tied(attention: SharedClassAttention) -> None:
    """q, k and v zero and an output projection of ones: q and k then never move (TVTSv2, 3.4)."""
    nn.init.zeros_(attention.qkv.weight)
    nn.init.zeros_(attention.qkv.bias)
    nn.init.ones_(attention.proj.weight)


def _start_video(video: VideoTransformer, config: DualEncoder) -> None:
    """OpenAI CLIP's ViT: tables and projection N(0, 1/width), the rest as torch starts its own modules."""
    std = config.video.width**-0.5
    for table in (video.class_embedding, video.positional_embedding, video.projection):
        nn.init.normal_(table, std=std)
    nn.init.kaiming_uniform_(video.patch_embedding.weight, a=5**0.5)
    for block in video.blocks:
        assert isinstance(block, Block)
        nn.init.xavier_uniform_(block.attn.qkv.weight)
        _zero_biases(block.attn)


def _start_text(text: TextTransformer, config: DualEncoder) -> None:
    """OpenAI CLIP's text tower: normal weights, narrower where they add to the residual stream."""
    width = config.text.width
    residual = (2 * width * config.text.layers) ** -0.5
    nn.init.normal_(text.token_embedding.weight, std=0.02)
    nn.init.normal_(text.positional_embedding, std=0.01)
    nn.init.normal_(text.projection, std=width**-0.5)
    for block in text.blocks:
        assert isinstance(block, TransformerBlock)
        nn.init.normal_(block.attn.qkv.weight, std=width**-0.5)
        nn.init.normal_(block.attn.proj.weight, std=residual)
        _zero_biases(block.attn)
        nn.init.normal_(block.mlp.c_fc.weight, std=(2 * width) ** -0.5)
        nn.init.normal_(block.mlp.c_proj.weight, std=residual)


def _zero_biases(attention: Attention | SharedClassAttention) -> None:
    nn.init.zeros_(attention.qkv.bias)
    nn.init.zeros_(attention.proj.bias)
