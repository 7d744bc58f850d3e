"""What an experiment reads off a training: when sorting began, how far temporal parameters moved, what they say."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.demo.grammar import ALL_THINGS, MOTIONS, Event, narration
from trainers.data.tokenizers import ClipTokenizer
from trainers.models.towers.video import Block, VideoTransformer
from trainers.models.video_text import VideoTextModel

PLATEAU = 1.2
"""Sorting loss below which the plateau at ln 4 = 1.386 is left."""
MEAN_OVER = 20
"""Narrated steps that the loss is averaged over."""

Curve = Sequence[tuple[int, float]]
"""(step, sorting loss) of every narrated step."""


def plateau_left(curve: Curve) -> int | None:
    """First step at which the mean over the last `MEAN_OVER` losses is below `PLATEAU`; None: never."""
    for end in range(MEAN_OVER, len(curve) + 1):
        recent = [loss for _, loss in curve[end - MEAN_OVER : end]]
        if sum(recent) / MEAN_OVER < PLATEAU:
            return curve[end - 1][0]
    return None


def thinned(curve: Curve) -> list[tuple[int, float]]:
    """The curve in means of `MEAN_OVER` steps."""
    parts = [curve[i : i + MEAN_OVER] for i in range(0, len(curve), MEAN_OVER)]
    return [(part[-1][0], round(sum(loss for _, loss in part) / len(part), 4)) for part in parts]


def temporal_parameters(video: VideoTransformer) -> dict[str, Tensor]:
    """Copies of what time is read by, all blocks stacked: q, k, v (weights), proj, ln_3 and the table."""
    blocks = [block for block in video.blocks if isinstance(block, Block)]
    qkv = torch.stack([block.timeattn.qkv.weight.detach() for block in blocks]).chunk(3, dim=1)
    return {
        **{name: part.clone() for name, part in zip("qkv", qkv, strict=True)},
        "proj": torch.stack([block.timeattn.proj.weight.detach() for block in blocks]),
        "ln_3": torch.stack([block.ln_3.weight.detach() for block in blocks]),
        "table": video.temporal_embedding.detach().clone(),
    }


def yardstick(video: VideoTransformer) -> dict[str, float]:
    """Norms of the spatial counterparts (of the table: its own), by which movements are divided.

    The published start is zero in q, k and v, so a share of its own norm would say nothing.
    """
    blocks = [block for block in video.blocks if isinstance(block, Block)]
    qkv = torch.stack([block.attn.qkv.weight.detach() for block in blocks]).chunk(3, dim=1)
    return {
        **{name: float(part.norm()) for name, part in zip("qkv", qkv, strict=True)},
        "proj": float(torch.stack([block.attn.proj.weight.detach() for block in blocks]).norm()),
        "ln_3": float(torch.stack([block.ln_1.weight.detach() for block in blocks]).norm()),
        "table": float(video.temporal_embedding.detach().norm()),
    }


def moved(
    before: Mapping[str, Tensor], after: Mapping[str, Tensor], size: Mapping[str, float]
) -> dict[str, float]:
    """Length of each movement, in percent of the yardstick."""
    return {
        f"moved/{name}": 100 * float((after[name] - before[name]).norm()) / size[name] if size[name] else 0.0
        for name in before
    }


@torch.no_grad()
def temporal_share(video: VideoTransformer, pixels: Tensor) -> dict[str, float]:
    """|temporal output| / |stream it is added to|, in percent: mean over patches, clips and blocks.

    "share": after the mean over channels is removed, as the LayerNorm behind the sum removes it. "share_moment": of
    that, what differs between the frames of a patch position; the rest tells frames nothing about their place.
    """
    shares: list[tuple[Tensor, Tensor]] = []
    streams: list[Tensor] = []
    num_frames = pixels.shape[1]

    def entering(block: nn.Module, given: Any) -> None:
        streams.append(_patches(given[0], num_frames))

    def speaking(module: nn.Module, given: Any, said: Tensor) -> None:
        x, heard = streams.pop(), _patches(said, num_frames)
        shares.append((_ratio(heard, x), _ratio(heard - heard.mean(dim=1, keepdim=True), x)))

    handles = [block.register_forward_pre_hook(entering) for block in video.blocks]
    handles += [b.timeattn.register_forward_hook(speaking) for b in video.blocks if isinstance(b, Block)]
    video(pixels)
    for handle in handles:
        handle.remove()
    share, moment = (100 * float(torch.stack(part).mean()) for part in zip(*shares, strict=True))
    return {"share": share, "share_moment": moment}


def _patches(x: Tensor, num_frames: int) -> Tensor:
    """Patch tokens [clips, frames, positions, channels] without their mean over channels."""
    patches: Tensor = x[:, 1:].unflatten(1, (num_frames, -1))
    return patches - patches.mean(dim=-1, keepdim=True)


def _ratio(part: Tensor, whole: Tensor) -> Tensor:
    ratio: Tensor = part.norm(dim=-1) / whole.norm(dim=-1)
    return ratio.mean()


@torch.no_grad()
def told_by_text(model: VideoTextModel) -> float:
    """How far apart sentences about one thing are that differ in the motion, in percent of how far apart sentences
    of one motion are that differ in the thing (1 - cosine of the text features, mean over all pairs).
    """
    sentences = [narration(Event(thing, motion)) for thing in ALL_THINGS for motion in MOTIONS]
    features = model.encode_text(torch.from_numpy(ClipTokenizer(model.config.text.context)(sentences)))
    unit = functional.normalize(features, dim=-1).unflatten(0, (len(ALL_THINGS), len(MOTIONS)))
    by_motion, by_thing = _spread(unit), _spread(unit.transpose(0, 1))
    return 100 * by_motion / by_thing


def _spread(unit: Tensor) -> float:
    """Mean of 1 - cosine over all pairs of a group [groups, members, d], and over groups."""
    cosines = unit @ unit.transpose(1, 2)
    members = unit.shape[1]
    apart = (1 - cosines).sum(dim=(1, 2)) / (members * (members - 1))
    return float(apart.mean())
