"""Parts of which towers and heads are composed: norms, MLP, attention, the plain transformer block."""

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from trainers.recipe import Activation

Norm = Callable[[int], nn.LayerNorm]
"""Makes a LayerNorm of a width."""

QUICK = 1.702


class Fp32LayerNorm(nn.LayerNorm):
    """LayerNorm computed in fp32 whatever the working precision, cast back (OpenAI CLIP; TVTSv2, 3.5)."""

    def forward(self, x: Float[Tensor, "*rows d"]) -> Float[Tensor, "*rows d"]:
        """Normalise over the last axis."""
        weight, bias = self.weight.float(), self.bias.float()
        return F.layer_norm(x.float(), self.normalized_shape, weight, bias, self.eps).to(x.dtype)


class Mlp(nn.Module):
    """Two linear layers with an activation between them: exact GELU, or CLIP's x * sigmoid(1.702 x).

    The latter is silu(1.702 x) / 1.702, and its two factors go into the weights: one pass over the wide
    activations instead of three.
    """

    def __init__(self, width: int, hidden: int, activation: Activation) -> None:
        super().__init__()
        self.c_fc = nn.Linear(width, hidden)
        self.c_proj = nn.Linear(hidden, width)
        self.activation = activation

    def forward(self, x: Float[Tensor, "*rows d"]) -> Float[Tensor, "*rows d"]:
        """Each row on its own."""
        if self.activation == "gelu":
            out: Tensor = self.c_proj(F.gelu(self.c_fc(x)))
            return out
        hidden = F.silu(F.linear(x, QUICK * self.c_fc.weight, QUICK * self.c_fc.bias))
        return F.linear(hidden, self.c_proj.weight / QUICK, self.c_proj.bias)


class Attention(nn.Module):
    """Multi-head self-attention over a sequence; `causal`: each position sees itself and those before it."""

    def __init__(self, width: int, heads: int, *, causal: bool = False) -> None:
        super().__init__()
        self.heads = heads
        self.causal = causal
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        """Queries scaled by head_dim**-0.5."""
        q, k, v = self._heads(self.qkv(x), 3)
        return self._out(F.scaled_dot_product_attention(q, k, v, is_causal=self.causal))

    def at(self, x: Float[Tensor, "b n d"], rows: Int64[Tensor, "b r"]) -> Float[Tensor, "b r d"]:
        """The output at some rows of each sequence; nothing is computed that only other rows need."""
        width = x.shape[-1]
        weight_q, weight_kv = self.qkv.weight.split([width, 2 * width])
        bias_q, bias_kv = self.qkv.bias.split([width, 2 * width])
        (q,) = self._heads(F.linear(take(x, rows), weight_q, bias_q), 1)
        k, v = self._heads(F.linear(x, weight_kv, bias_kv), 2)
        seen = None
        if self.causal:
            seen = (torch.arange(x.shape[1], device=x.device) <= rows[..., None])[:, None]  # (b, 1, r, n)
        return self._out(F.scaled_dot_product_attention(q, k, v, attn_mask=seen))

    def _heads(self, projected: Float[Tensor, "b n _"], parts: int) -> Float[Tensor, "_ b heads n e"]:
        heads: Tensor = projected.unflatten(-1, (parts, self.heads, -1))
        return heads.permute(2, 0, 3, 1, 4)

    def _out(self, mixed: Float[Tensor, "b heads n e"]) -> Float[Tensor, "b n d"]:
        out: Tensor = self.proj(mixed.transpose(1, 2).flatten(2))
        return out


def take(x: Float[Tensor, "b n d"], rows: Int64[Tensor, "b r"]) -> Float[Tensor, "b r d"]:
    """Some rows of each sequence."""
    return x.gather(1, rows[..., None].expand(-1, -1, x.shape[-1]))


class TransformerBlock(nn.Module):
    """Pre-norm block: attention, then MLP, each added to the stream."""

    def __init__(
        self,
        width: int,
        heads: int,
        hidden: int,
        activation: Activation,
        norm: Norm,
        *,
        causal: bool = False,
    ) -> None:
        super().__init__()
        self.ln_1 = norm(width)
        self.attn = Attention(width, heads, causal=causal)
        self.ln_2 = norm(width)
        self.mlp = Mlp(width, hidden, activation)

    def forward(self, x: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        """Every row."""
        x = x + self.attn(self.ln_1(x))
        out: Tensor = x + self.mlp(self.ln_2(x))
        return out

    def at(self, x: Float[Tensor, "b n d"], rows: Int64[Tensor, "b r"]) -> Float[Tensor, "b r d"]:
        """`forward` at some rows: in a last block of which only these are read, most of the work is saved."""
        x = take(x, rows) + self.attn.at(self.ln_1(x), rows)
        out: Tensor = x + self.mlp(self.ln_2(x))
        return out


class SharedClassAttention(nn.Module):
    """Divided attention in which all groups share one class token (TVTSv2, 3.3).

    A patch sees the class token and its group: "space", the patches of its frame; "time", the same slot in
    every frame. The class token sees everything, in both kinds.
    """

    def __init__(self, width: int, heads: int, over: Literal["space", "time"]) -> None:
        super().__init__()
        self.heads = heads
        self.over = over
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Float[Tensor, "b m d"], t: int) -> Float[Tensor, "b m d"]:
        """`x`: the class token, then the patches frame by frame; `t`: frames per clip."""
        width, num_patches = x.shape[2], x.shape[1] - 1
        # Splits, not slices: the gradient of a slice is a full-size tensor, that of a split one copy.
        query, key_value = self.qkv(x).split([width, 2 * width], dim=-1)
        query_cls, query_patches = query.unflatten(-1, (self.heads, -1)).split([1, num_patches], dim=1)
        key_value = key_value.unflatten(-1, (2, self.heads, -1))  # (b, 1 + t n, 2, heads, e)
        cls = _attend(query_cls, key_value)
        key_value_cls, key_value_patches = key_value.split([1, num_patches], dim=1)
        patches = self._in_groups(query_patches, key_value_cls, key_value_patches, t)
        out: Tensor = self.proj(torch.cat([cls, patches], dim=1).flatten(2))
        return out

    def _in_groups(
        self,
        query: Float[Tensor, "b tn heads e"],
        key_value_cls: Float[Tensor, "b 1 2 heads e"],
        key_value: Float[Tensor, "b tn 2 heads e"],
        t: int,
    ) -> Float[Tensor, "b tn heads e"]:
        query, key_value = query.unflatten(1, (t, -1)), key_value.unflatten(1, (t, -1))
        if self.over == "time":
            query, key_value = query.transpose(1, 2), key_value.transpose(1, 2)  # (b, groups, members, …)
        groups = query.shape[1]
        shared = key_value_cls[:, None].expand(-1, groups, -1, -1, -1, -1)
        key_value = torch.cat([shared, key_value], dim=2).flatten(0, 1)
        mixed: Tensor = _attend(query.flatten(0, 1), key_value).unflatten(0, (-1, groups))
        return (mixed.transpose(1, 2) if self.over == "time" else mixed).flatten(1, 2)


def _attend(
    query: Float[Tensor, "b q heads e"], key_value: Float[Tensor, "b k 2 heads e"]
) -> Float[Tensor, "b q heads e"]:
    key, value = key_value.permute(2, 0, 3, 1, 4)
    mixed: Tensor = F.scaled_dot_product_attention(query.transpose(1, 2), key, value)
    return mixed.transpose(1, 2)
