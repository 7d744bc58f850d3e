"""The smallest models and batches that tests of models and objectives share."""

from dataclasses import replace

import torch

from trainers.batch import Batch
from trainers.models.video_text import VideoTextModel
from trainers.recipe import Flavour, Model, SortingHead, TextTower, VideoTower

SMALL = Model(
    embedding=16,
    video=VideoTower(image_size=32, patch_size=8, width=32, layers=2, heads=4, max_frames=4),
    text=TextTower(vocabulary=64, context=8, width=32, layers=2, heads=4),
    sorting=SortingHead(transcripts=3, heads=4),
)


def small_model(flavour: Flavour = "b", seed: int = 0) -> VideoTextModel:
    """Fresh weights."""
    return VideoTextModel.fresh(replace(SMALL, flavour=flavour), seed)


def small_pixels(clips: int = 4, frames: int = 3, seed: int = 0) -> torch.Tensor:
    """Normalised frames of that model."""
    return torch.randn(clips, frames, 3, 32, 32, generator=torch.Generator().manual_seed(seed))


def small_batch(clips: int = 4, texts: int = 3, kept: int = 8, seed: int = 0) -> Batch:
    """Texts of five tokens with the end token 63 in the last column; frames are not used."""
    draw = torch.Generator().manual_seed(seed)
    tokens = torch.randint(1, 62, (clips, texts, 5), generator=draw)
    tokens[..., -1] = 63
    return Batch(
        frames=torch.zeros(clips, 3, 1, 1, 3, dtype=torch.uint8),
        tokens=tokens,
        keep=torch.stack([torch.randperm(16, generator=draw)[:kept] for _ in range(clips)]),
        valid=torch.ones(clips, dtype=torch.bool),
        position=torch.arange(clips),
        uids=torch.zeros(clips, 2, 10, dtype=torch.uint8),
    )
