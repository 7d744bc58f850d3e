"""The text tower: CLIP's, unchanged (TVTSv2, section 5)."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from trainers.models.blocks import Blocks
from trainers.models.layers import Norm, TransformerBlock
from trainers.models.sizes import Activation, TextTower


class TextTransformer(nn.Module):
    """Token ids -> embeddings in the shared space, read at the end token."""

    def __init__(self, config: TextTower, embedding: int, norm: Norm, activation: Activation) -> None:
        super().__init__()
        width = config.width
        hidden = int(width * config.mlp_ratio)
        self.token_embedding = nn.Embedding(config.vocabulary, width)
        self.positional_embedding = nn.Parameter(torch.empty(config.context, width))
        self.blocks = Blocks(
            TransformerBlock(width, config.heads, hidden, activation, norm, causal=True)
            for _ in range(config.layers)
        )
        self.ln_final = norm(width)
        self.projection = nn.Parameter(torch.empty(width, embedding))

    def forward(self, tokens: Int[Tensor, "n c"]) -> Float[Tensor, "n d"]:
        """`tokens` may be shorter than the context. The end token is the largest id of its row."""
        x = self.blocks(self.embed(tokens), count=len(self.blocks) - 1)
        last = self.blocks[-1]
        assert isinstance(last, TransformerBlock)
        end = last.at(x, tokens.argmax(dim=-1, keepdim=True))[:, 0]
        out: Tensor = self.ln_final(end) @ self.projection
        return out

    def embed(self, tokens: Int[Tensor, "n c"]) -> Float[Tensor, "n c width"]:
        """Ids and their places, before the first block."""
        embedded: Tensor = self.token_embedding(tokens) + self.positional_embedding[: tokens.shape[1]]
        return embedded


def trim_padding(tokens: Int[Tensor, "*texts context"], multiple: int = 4) -> Int[Tensor, "*texts shorter"]:
    """Drop the columns that are padding in every text, down to a multiple of a few.

    Exact: the text tower is causal and reads the end token, so padding behind it is never seen (TVTSv2,
    section 5). Call it in host memory: on CUDA the length would have to be waited for.
    """
    longest = int(tokens.flatten(0, -2).argmax(dim=-1).max()) + 1
    return tokens[..., : -(-longest // multiple) * multiple]
