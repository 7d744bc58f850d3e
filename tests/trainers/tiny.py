"""The one model small enough for a test, its batches made up or read without Ray, and a recipe of it.

A test that needs another size says so with `dataclasses.replace`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Literal

import pyarrow as pa
import torch

from ingest.order.row_groups import Order, row_groups
from ingest.order.windows import read_window
from ingest.stores.ledger import Ledger
from ingest.stores.shards import parts_of
from trainers.data.batch import Batch, Clips, to_batch
from trainers.data.feed import steps_of
from trainers.data.prepare import Prepare
from trainers.launch_settings import Launch
from trainers.loop.task import Task
from trainers.models.sizes import SortingHead, TextTower, VideoTower
from trainers.models.video_text import VideoTextModel
from trainers.objectives.settings import Contrastive, Sorting
from trainers.recipe import Cosine, Optimizer, Pixels, Rate, Stage, Stream, Training
from trainers.systems.tvtsv2.rows import TVTSv2Reads
from trainers.systems.tvtsv2.settings import NEW, UNDECAYED, TVTSv2
from trainers.systems.tvtsv2.system import SYSTEM as PARTS
from trainers.systems.tvtsv2.system import Inputs

SYSTEM = TVTSv2(
    embedding=16,
    video=VideoTower(image_size=16, patch_size=8, width=16, layers=1, heads=2),
    text=TextTower(context=24, width=16, layers=2, heads=2),
    sorting=SortingHead(heads=2, depth=1),
)
PIXELS = Pixels(short_side=16, crop=16)
NARRATED = Stream(
    "narrated", 4, TVTSv2Reads(text="transcripts", mask_ratio=0.5), {"contrastive": 1.0, "sorting": 2.0}, 4, 2
)
CAPTIONED = replace(
    NARRATED,
    name="captioned",
    reads=replace(NARRATED.reads, text="captions"),
    objectives={"contrastive": 1.0},
)
OBJECTIVES = (Contrastive(), Sorting())


def adamw(new: float, rest: float, **settings: Any) -> Optimizer:
    """TVTSv2's groups."""
    rates = {"new": Rate(new, NEW), "rest": Rate(rest)}
    return Optimizer(rates=rates, undecayed=UNDECAYED, **settings)


def training(steps: int, **launch: Any) -> Training:
    """One stage of narrated and captioned batches in turn, with fast rates."""
    optimizer = adamw(1e-2, 1e-2, course=Cosine())
    stage = Stage("tiny", (NARRATED, CAPTIONED), OBJECTIVES, steps, optimizer, frozen_below={"text": 1})
    return Training(SYSTEM, PIXELS, (stage,), launch=Launch(log_every=1, **launch))


def tiny_model(system: TVTSv2 = SYSTEM, seed: int = 0) -> VideoTextModel:
    """Fresh weights."""
    return VideoTextModel.fresh(system, seed)


def tiny_task(
    model: VideoTextModel | None = None, gather: Literal["published", "summed"] = "published"
) -> Task:
    """Both objectives around a model, a fresh tiny one unless it is given."""
    model = model or tiny_model()
    settings = (Contrastive(gather=gather), Sorting())
    return Task(model, {each.name: each.built()(each, model) for each in settings}, PARTS.encode)


def tiny_pixels(clips: int = 4, frames: int = 3, seed: int = 0) -> torch.Tensor:
    """Normalised frames of that model."""
    return torch.randn(clips, frames, 3, 16, 16, generator=torch.Generator().manual_seed(seed))


def tiny_batch(
    clips: int = 4, texts: int = 4, kept: int = 2, seed: int = 0, valid: Sequence[bool | int] = ()
) -> Batch:
    """Texts of five of 64 tokens, 63 as the end token in the last column; frames are not used. `valid`: empty, all."""
    draw = torch.Generator().manual_seed(seed)
    tokens = torch.randint(1, 62, (clips, texts, 5), generator=draw)
    tokens[..., -1] = 63
    patches = SYSTEM.video.num_patches
    keep = torch.stack([torch.randperm(patches, generator=draw)[:kept] for _ in range(clips)])
    return Batch(
        Clips(
            frames=torch.zeros(clips, 3, 1, 1, 3, dtype=torch.uint8),
            valid=torch.tensor(valid or [True] * clips, dtype=torch.bool),
            position=torch.arange(clips),
            uids=torch.zeros(clips, 2, 10, dtype=torch.uint8),
        ),
        Inputs(tokens, keep),
    )


def plain_batches(store: str, recipe: Training, index: int, first_step: int = 0) -> Iterator[Batch]:
    """The batches of one stream of the first stage, read in this process from the plan."""
    stage = recipe.stages[0]
    stream = stage.streams[index]
    order = Order(row_groups(parts_of(Ledger(store, stream.name).committed().values())), recipe.seed)
    prepare = Prepare(stream, recipe.system, recipe.pixels, recipe.seed)
    first = steps_of(stage, recipe.seed, index, 0, first_step) * stream.batch_size
    total = steps_of(stage, recipe.seed, index, 0, stage.steps) * stream.batch_size
    windows = order.windows(first, total - first)
    rows = pa.concat_tables(read_window(store, stream.name, window, prepare.choice) for window in windows)
    for start in range(0, rows.num_rows, stream.batch_size):
        columns = prepare(rows.slice(start, stream.batch_size))
        yield to_batch(
            {name: torch.from_numpy(values.copy()) for name, values in columns.items()}, recipe.system
        )
