"""TVTSv2 written plainly over the parameters of a `VideoTextModel`: a loop over the frames, a loop over the patches,
attention as softmax(q k) v, every token computed, every activation kept. What `bench_step` compares with."""

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.trainers.objectives.dense import dense
from trainers.data.batch import Batch
from trainers.models.heads import SortingTransformer
from trainers.models.layers import Attention, Mlp, SharedClassAttention, TransformerBlock
from trainers.models.towers.text import TextTransformer
from trainers.models.towers.video import Block, VideoTransformer
from trainers.models.video_text import VideoTextModel


def plain_losses(model: VideoTextModel, batch: Batch, pixels: Tensor) -> dict[str, Tensor]:
    """The contrastive and the sorting loss of a batch of flavour "b", all rows valid (TVTSv2, section 7)."""
    tokens = video(model.video, pixels, batch.inputs.keep)
    ids = batch.inputs.tokens
    texts = text(model.text, ids.flatten(0, 1)).unflatten(0, ids.shape[:2])
    logits = sorting(model.sorting, tokens, texts.detach())
    places = torch.arange(logits.shape[1]).expand(logits.shape[:2])
    return {
        "contrastive": dense(tokens[:, 0], texts.mean(dim=1), 0.05, batch.clips.valid),
        "sorting": F.cross_entropy(logits.flatten(0, 1), places.flatten()),
    }


def video(tower: VideoTransformer, pixels: Tensor, keep: Tensor) -> Tensor:
    """Section 3: every patch is embedded, then those that are not kept are dropped."""
    t, side = pixels.shape[1], tower.patch_embedding.weight.shape[-1]
    frames = []
    for index, frame in enumerate(pixels.unbind(1)):
        patches = F.conv2d(frame, tower.patch_embedding.weight, stride=side).flatten(2).transpose(1, 2)
        patches = patches + tower.positional_embedding[1:] + tower.temporal_embedding[index]
        frames.append(torch.stack([clip[kept] for clip, kept in zip(patches, keep, strict=True)]))
    cls = (tower.class_embedding + tower.positional_embedding[0]).expand(len(pixels), 1, -1)
    x: Tensor = tower.ln_pre(torch.cat([cls, *frames], dim=1))
    for module in tower.blocks:
        block = cast(Block, module)
        between = x + divided(block.timeattn, block.ln_3(x), t)
        x = x + divided(block.attn, block.ln_1(between), t)
        x = x + mlp(block.mlp, block.ln_2(x))
    out: Tensor = tower.ln_post(x) @ tower.projection
    return out


def divided(module: SharedClassAttention, x: Tensor, t: int) -> Tensor:
    """Section 3.3: frame by frame, or slot by slot."""
    q, k, v = heads(module.qkv(x), module.heads)
    n = (x.shape[1] - 1) // t
    outs = [softmax_attention(q[:, :, :1], k, v)]
    for group in range(t if module.over == "space" else n):
        members = (
            slice(1 + group * n, 1 + (group + 1) * n) if module.over == "space" else slice(1 + group, None, n)
        )
        keys = torch.cat([k[:, :, :1], k[:, :, members]], dim=2)
        values = torch.cat([v[:, :, :1], v[:, :, members]], dim=2)
        outs.append(softmax_attention(q[:, :, members], keys, values))
    mixed = torch.cat(outs, dim=2)
    if module.over == "time":  # slot by slot, as they were made; back to frame by frame
        patches = mixed[:, :, 1:].unflatten(2, (n, t)).transpose(2, 3).flatten(2, 3)
        mixed = torch.cat([mixed[:, :, :1], patches], dim=2)
    return joined(module.proj, mixed)


def text(tower: TextTransformer, tokens: Tensor) -> Tensor:
    """Section 5."""
    x = tower.token_embedding(tokens) + tower.positional_embedding[: tokens.shape[1]]
    unseen = torch.full((tokens.shape[1],) * 2, -torch.inf).triu(1)
    for block in tower.blocks:
        x = plain_block(cast(TransformerBlock, block), x, unseen)
    x = tower.ln_final(x)
    end: Tensor = x[torch.arange(len(x)), tokens.argmax(dim=-1)]
    return end @ tower.projection


def sorting(head: SortingTransformer, tokens: Tensor, texts: Tensor) -> Tensor:
    """Section 6."""
    x = torch.cat([tokens + head.type_embedding[:, 0], texts + head.type_embedding[:, 1]], dim=1)
    for block in head.blocks:
        x = plain_block(cast(TransformerBlock, block), x)
    logits: Tensor = head.head(head.norm(x[:, tokens.shape[1] :]))
    return logits


def plain_block(block: TransformerBlock, x: Tensor, mask: Tensor | None = None) -> Tensor:
    """Attention over the whole sequence, then the MLP."""
    attention: Attention = block.attn
    q, k, v = heads(attention.qkv(block.ln_1(x)), attention.heads)
    x = x + joined(attention.proj, softmax_attention(q, k, v, mask))
    return x + mlp(block.mlp, block.ln_2(x))


def softmax_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """softmax(q k) v."""
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
    if mask is not None:
        scores = scores + mask
    return scores.softmax(dim=-1) @ v


def heads(projected: Tensor, count: int) -> tuple[Tensor, ...]:
    """Query, key and value, (b, heads, m, e) each."""
    return projected.unflatten(-1, (3, count, -1)).permute(2, 0, 3, 1, 4).unbind(0)


def joined(proj: nn.Linear, mixed: Tensor) -> Tensor:
    """Heads side by side again, projected."""
    out: Tensor = proj(mixed.transpose(1, 2).flatten(2))
    return out


def mlp(module: Mlp, x: Tensor) -> Tensor:
    """With the activation as it is written."""
    hidden = module.c_fc(x)
    active = F.gelu(hidden) if module.activation == "gelu" else hidden * torch.sigmoid(1.702 * hidden)
    out: Tensor = module.c_proj(active)
    return out
