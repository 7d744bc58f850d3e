"""The smallest models and batches that tests of models and objectives share."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import torch

from trainers.data.batch import Batch, Clips
from trainers.loop.task import Task
from trainers.models.sizes import Flavour, SortingHead, TextTower, VideoTower
from trainers.models.video_text import VideoTextModel
from trainers.objectives.settings import Contrastive, Sorting
from trainers.systems.tvtsv2.settings import TVTSv2
from trainers.systems.tvtsv2.system import SYSTEM, Inputs

SMALL = TVTSv2(
    embedding=16,
    video=VideoTower(image_size=32, patch_size=8, width=32, layers=2, heads=4, max_frames=4),
    text=TextTower(vocabulary=64, context=8, width=32, layers=2, heads=4),
    sorting=SortingHead(transcripts=3, heads=4),
)


def small_model(flavour: Flavour = "b", seed: int = 0) -> VideoTextModel:
    """Fresh weights."""
    return VideoTextModel.fresh(replace(SMALL, flavour=flavour), seed)


def small_task(
    model: VideoTextModel | None = None, gather: Literal["published", "summed"] = "published"
) -> Task:
    """Both objectives around a model, a fresh small one unless it is given."""
    model = model or small_model()
    settings = (Contrastive(gather=gather), Sorting())
    return Task(model, {each.name: each.built()(each, model) for each in settings}, SYSTEM.encode)


def small_pixels(clips: int = 4, frames: int = 3, seed: int = 0) -> torch.Tensor:
    """Normalised frames of that model."""
    return torch.randn(clips, frames, 3, 32, 32, generator=torch.Generator().manual_seed(seed))


def small_batch(
    clips: int = 4, texts: int = 3, kept: int = 8, seed: int = 0, valid: Sequence[bool | int] = ()
) -> Batch:
    """Texts of five tokens with the end token 63 in the last column; frames are not used. `valid`: empty, all."""
    draw = torch.Generator().manual_seed(seed)
    tokens = torch.randint(1, 62, (clips, texts, 5), generator=draw)
    tokens[..., -1] = 63
    keep = torch.stack([torch.randperm(16, generator=draw)[:kept] for _ in range(clips)])
    return Batch(
        Clips(
            frames=torch.zeros(clips, 3, 1, 1, 3, dtype=torch.uint8),
            valid=torch.tensor(valid or [True] * clips, dtype=torch.bool),
            position=torch.arange(clips),
            uids=torch.zeros(clips, 2, 10, dtype=torch.uint8),
        ),
        Inputs(tokens, keep),
    )
