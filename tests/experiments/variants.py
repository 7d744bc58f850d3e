"""What is compared: starts of the temporal attention, towers without it, and forms of the optimiser."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn

from trainers.models.layers import SharedClassAttention
from trainers.models.starts import start_temporal_attention
from trainers.models.towers.video import Block, VideoTransformer
from trainers.recipe import Stage

Start = Callable[[VideoTransformer], None]

TEMPORAL_MODULES = ("video.blocks.*.timeattn.*", "video.blocks.*.ln_3.*")


@dataclass(frozen=True)
class Variant:
    """One way to begin and train; everything else is the recipe's."""

    note: str
    start: Start
    freeze: tuple[str, ...] = ()
    """Patterns of parameters kept as they start."""
    table: bool = True
    """False: the temporal table is zero and stays so."""
    optimizer: Mapping[str, Any] = field(default_factory=dict)

    def stage(self, stage: Stage) -> Stage:
        """The stage with this variant's freezing and optimiser."""
        freeze = (*stage.freeze, *self.freeze, *(() if self.table else ("video.temporal_embedding",)))
        return replace(stage, freeze=freeze, optimizer=replace(stage.optimizer, **self.optimizer))

    @torch.no_grad()
    def begin(self, video: VideoTransformer) -> None:
        """Start the temporal parts of a tower whose other weights are there."""
        self.start(video)
        if not self.table:
            video.temporal_embedding.zero_()


def _published(video: VideoTransformer) -> None:
    start_temporal_attention(video, "as_published")


def _from_spatial(video: VideoTransformer) -> None:
    start_temporal_attention(video, "from_spatial")


def _average(video: VideoTransformer) -> None:
    """Uniform attention (k is zero, q is not, so k trains), each value the token itself, and a silent output."""
    _from_spatial(video)
    for block in _blocks(video):
        nn.init.zeros_(block.timeattn.qkv.bias)
        query, key, value = block.timeattn.qkv.weight.chunk(3)
        nn.init.xavier_uniform_(query)
        nn.init.zeros_(key)
        nn.init.eye_(value)


def _neighbours(video: VideoTransformer) -> None:
    """As `from_spatial` with ln_1's norm, but q and k look one frame back (even heads) or ahead (odd heads)."""
    _from_spatial(video)
    for block in _blocks(video):
        block.ln_3.load_state_dict(block.ln_1.state_dict())
        _look_beside(block.timeattn, video.temporal_embedding)


def _look_beside(attention: SharedClassAttention, table: torch.Tensor, sharpness: float = 4.0) -> None:
    """q of frame t is the code of its neighbour, k of frame s its own; a code is a unit vector of a head's size.

    Both are read off the token through the pseudo-inverse of the table. `sharpness` is the logit of the neighbour
    for tokens that are rows of the table.
    """
    width, heads = table.shape[1], attention.heads
    size = width // heads
    codes = torch.eye(len(table), size)
    if len(table) > size:  # more frames than a head has channels: codes as far apart as they can be
        codes = nn.functional.normalize(torch.linalg.qr(torch.randn(len(table), size)).Q, dim=-1)
    reader = torch.linalg.pinv(table) * (size * sharpness**2) ** 0.25  # (width, frames)
    query, key, _ = attention.qkv.weight.chunk(3)
    for head in range(heads):
        rows = slice(head * size, (head + 1) * size)
        beside = codes.roll(1 if head % 2 == 0 else -1, 0)
        query[rows], key[rows] = (reader @ beside).T, (reader @ codes).T
    attention.qkv.bias.zero_()


def _blocks(video: VideoTransformer) -> list[Block]:
    return [block for block in video.blocks if isinstance(block, Block)]


STARTS = {
    "as_published": Variant("q, k, v zero, output projection of ones", _published),
    "from_spatial": Variant("spatial q, k, v; output projection of zeros", _from_spatial),
    "average": Variant("uniform attention over tokens as they are; output projection of zeros", _average),
    "neighbours": Variant("from_spatial, but q and k look at the frames beside, by the table", _neighbours),
    "no_module": Variant("no temporal attention", _published, TEMPORAL_MODULES),
}
FLOOR = {
    "no_time": Variant("no temporal attention, no temporal table", _published, TEMPORAL_MODULES, table=False)
}
OPTIMIZERS = {
    "adamw_published": Variant(
        "as_published, AdamW of the paper's code", _published, optimizer={"form": "published"}
    ),
    "unused_step": Variant("as_published, unused parameters step", _published, optimizer={"unused": "step"}),
}
