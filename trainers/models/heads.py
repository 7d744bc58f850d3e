"""Heads on top of the towers: the sorting head (TVTSv2, section 6)."""

from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn

from trainers.models.blocks import Blocks
from trainers.models.layers import TransformerBlock
from trainers.models.sizes import SortingHead


class SortingTransformer(nn.Module):
    """Reads all video tokens and K transcript features; says which place in time each transcript has.

    Nothing tells it the order in which they are given: permuting them permutes the rows of the logits.
    """

    def __init__(self, width: int, config: SortingHead) -> None:
        super().__init__()
        norm = partial(nn.LayerNorm, eps=config.layer_norm_eps)
        hidden = int(width * config.mlp_ratio)
        self.type_embedding = nn.Parameter(torch.zeros(1, 2, width))  # video, text
        self.blocks = Blocks(
            TransformerBlock(width, config.heads, hidden, config.activation, norm)
            for _ in range(config.depth)
        )
        self.norm = norm(width)
        self.head = nn.Linear(width, config.transcripts)

    def forward(
        self, video: Float[Tensor, "b m d"], texts: Float[Tensor, "b k d"]
    ) -> Float[Tensor, "b k places"]:
        """Logits: row k says where in time transcript k belongs."""
        x = self.blocks(self.embed(video, texts), count=len(self.blocks) - 1)
        last = self.blocks[-1]
        assert isinstance(last, TransformerBlock)
        rows = torch.arange(video.shape[1], x.shape[1], device=x.device).expand(len(x), -1)
        logits: Tensor = self.head(self.norm(last.at(x, rows)))
        return logits

    def embed(self, video: Float[Tensor, "b m d"], texts: Float[Tensor, "b k d"]) -> Float[Tensor, "b mk d"]:
        """Both kinds of token in one sequence, video first, before the first block."""
        return torch.cat([video + self.type_embedding[:, :1], texts + self.type_embedding[:, 1:]], dim=1)
