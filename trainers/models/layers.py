"""Parts of which towers and heads are composed: norms, MLP, attention, the plain transformer block."""

from collections.abc import Callable
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from trainers.models.sizes import Activation

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
    """Two linear layers with an activation between them: exact GELU, or CLIP's x * sigmoid(1.702 x)."""

    def __init__(self, width: int, hidden: int, activation: Activation) -> None:
        super().__init__()
        self.c_fc = nn.Linear(width, hidden)
        self.c_proj = nn.Linear(hidden, width)
        self.activation = activation

    def forward(self, x: Float[Tensor, "*rows d"]) -> Float[Tensor, "*rows d"]:
        """Each row on its own."""
        out: Tensor
        if self.activation == "gelu":
            out = self.c_proj(F.gelu(self.c_fc(x)))
        else:
            linear = (self.c_fc.weight, self.c_fc.bias, self.c_proj.weight, self.c_proj.bias)
            out = _QuickMlp.apply(x.flatten(0, -2), *linear).unflatten(0, x.shape[:-1])
        return out


class _QuickMlp(torch.autograd.Function):
    """Keeps what goes into the activation and makes what comes out again in the backward pass.

    x * sigmoid(1.702 x) is silu(1.702 x) / 1.702; the matrix products take both factors along.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, weight_out: Tensor, bias_out: Tensor
    ) -> Tensor:
        scaled = torch.addmm(bias, x, weight.T, beta=QUICK, alpha=QUICK)
        ctx.save_for_backward(x.to(scaled.dtype), scaled, weight, weight_out)
        return torch.addmm(bias_out, F.silu(scaled), weight_out.T, alpha=1 / QUICK)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        # In the precision of the forward pass: autocast, which cast the weights there, is off here.
        x, scaled, weight, weight_out = (saved.to(grad.dtype) for saved in ctx.saved_tensors)
        grad_scaled = torch.ops.aten.silu_backward(grad @ weight_out, scaled)
        grad_x = grad_scaled @ weight if ctx.needs_input_grad[0] else None
        if not any(ctx.needs_input_grad[1:]):
            return grad_x, None, None, None, None
        grad_weight_out = (grad / QUICK).T @ F.silu(scaled)
        return grad_x, grad_scaled.T @ x, grad_scaled.sum(0), grad_weight_out, grad.sum(0)


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
        # Unbound and split, not sliced: the gradient of a slice is a full-size tensor, that of these one copy.
        query, key, value = self.qkv(x).unflatten(-1, (3, self.heads, -1)).unbind(2)
        query_cls, queries = self._in_groups(query, t)
        keys, values = (_each_with_class(*self._in_groups(part, t)) for part in (key, value))
        cls = _attend(query_cls, key, value)
        patches: Tensor = _attend(queries.flatten(0, 1), keys, values).unflatten(0, queries.shape[:2])
        frames = patches.transpose(1, 2) if self.over == "time" else patches
        out: Tensor = self.proj(torch.cat([cls, frames.flatten(1, 2)], dim=1).flatten(2))
        return out

    def _in_groups(
        self, part: Float[Tensor, "b m heads e"], t: int
    ) -> tuple[Float[Tensor, "b 1 heads e"], Float[Tensor, "b groups members heads e"]]:
        """The class token's row, and the patches' rows by group."""
        cls, patches = part.split([1, part.shape[1] - 1], dim=1)
        frames = patches.unflatten(1, (t, -1))
        return cls, frames.transpose(1, 2) if self.over == "time" else frames


def _each_with_class(
    cls: Float[Tensor, "b 1 heads e"], groups: Float[Tensor, "b groups members heads e"]
) -> Float[Tensor, "_ k heads e"]:
    shared = cls[:, None].expand(-1, groups.shape[1], -1, -1, -1)
    return torch.cat([shared, groups], dim=2).flatten(0, 1)


def _attend(
    query: Float[Tensor, "b q heads e"],
    key: Float[Tensor, "b k heads e"],
    value: Float[Tensor, "b k heads e"],
) -> Float[Tensor, "b q heads e"]:
    query, key, value = (part.transpose(1, 2) for part in (query, key, value))
    mixed: Tensor = F.scaled_dot_product_attention(query, key, value)
    return mixed.transpose(1, 2)
