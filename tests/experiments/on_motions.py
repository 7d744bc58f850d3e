"""The comparison where motions alone differ: one thing a clip, four motions, 24 frames, no mask, from fresh weights.

Small in what is not the point: 32 pixels in four patches, width 64, two blocks a tower. The settings that follow
`hard` are there to say what keeps such clips at chance.
"""

import time
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import cycle, islice
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import torch

from ingest.order.choice import chosen_frames
from pipeline.demo.grammar import ALL_THINGS, narration
from pipeline.demo.plans import Story
from pipeline.demo.scenes import Canvas, video_frames
from tests.experiments.measures import (
    moved,
    plateau_left,
    temporal_parameters,
    temporal_share,
    thinned,
    told_by_text,
    yardstick,
)
from tests.experiments.motion_clips import (
    backwards,
    drawn_rows,
    drawn_stories,
    motions_alone,
    out_of_step,
    planned,
    with_thing,
)
from tests.experiments.runs import CPU, SEED_OF_DRAWN, Reader, trained
from tests.experiments.variants import Variant
from tests.trainers.tiny import OBJECTIVES, adamw
from trainers.data.batch import Batch, to_batch
from trainers.data.prepare import Prepare
from trainers.evaluation.protocol import Columns
from trainers.evaluation.protocols.sorting import Sorting
from trainers.launch_settings import Launch
from trainers.loop.train import build_learner
from trainers.models.sizes import SortingHead, TextTower, VideoTower
from trainers.models.video_text import VideoTextModel
from trainers.recipe import Cosine, Pixels, Stage, Stream, Training
from trainers.systems.tvtsv2.rows import TVTSv2Reads
from trainers.systems.tvtsv2.settings import TVTSv2

FRAMES_PER_EVENT = 6
NUM_FRAMES = 4 * FRAMES_PER_EVENT


@dataclass(frozen=True)
class Motions:
    """What is drawn, and how long is trained."""

    steps: int = 600
    batch_size: int = 16
    num_batches: int = 250
    """Drawn for a seed; taken again in the same order once all were seen."""
    side: int = 32
    width: int = 64
    rate: float = 1e-3
    warmup_steps: int = 20
    num_held_out: int = 200
    things: Literal["one", "one_a_batch", "mixed"] = "one"
    """Coloured shapes: a single one, one a batch, or any of the 24 in each clip."""
    in_step: bool = True
    """True: every motion begins at its beginning, so a frame and its place in the clip tell the motion. False: only
    neighbouring frames do."""

    def run(self, variant: Variant, seed: int) -> dict[str, Any]:
        """Train and evaluate: metrics by name, and the curve of the sorting loss."""
        started = time.monotonic()
        learner = build_learner(self._training(seed, variant), 0, CPU, start=None, resume=None)
        model = learner.task.model
        variant.begin(model.video)
        before, size = temporal_parameters(model.video), yardstick(model.video)
        curve = trained(learner, [_batches(self, seed)])
        model.eval()
        found, pixels = self._scores(model)
        return {
            "left_at": plateau_left(curve),
            **found,
            **moved(before, temporal_parameters(model.video), size),
            **temporal_share(model.video, pixels[:32]),
            "text_motion": told_by_text(model),
            "curve": thinned(curve),
            "seconds": round(time.monotonic() - started, 1),
        }

    def _training(self, seed: int, variant: Variant) -> Training:
        stream = _stream(self.batch_size)
        course = Cosine(warmup_steps=self.warmup_steps)
        optimizer = adamw(self.rate, self.rate, form="torch", unused="skip", course=course, max_grad_norm=1.0)
        stage = variant.stage(Stage("motions", (stream,), OBJECTIVES, self.steps, optimizer))
        launch = Launch(log_every=1, checkpoint_every=10**9)
        return Training(self.system, self.pixels, (stage,), seed, launch=launch)

    @property
    def system(self) -> TVTSv2:
        """The tiny recipe's model, smaller, with a row of the temporal table for each frame."""
        video = VideoTower(
            image_size=self.side,
            patch_size=self.side // 2,
            width=self.width,
            layers=2,
            heads=4,
            max_frames=NUM_FRAMES,
            temporal_start_std=0.5,
        )
        text = TextTower(context=24, width=self.width, layers=2, heads=4)
        return TVTSv2(embedding=self.width, video=video, text=text, sorting=SortingHead(heads=4))

    @property
    def pixels(self) -> Pixels:
        """Frames as they are drawn."""
        return Pixels(short_side=self.side, crop=self.side)

    def stories(self, number: int, seed: int) -> list[Story]:
        """What the clips of a batch show."""
        drawn = drawn_stories(motions_alone, self.batch_size, seed * 1_000_000 + number)
        if self.things == "mixed":
            return drawn
        thing = ALL_THINGS[0 if self.things == "one" else number % len(ALL_THINGS)]
        return [with_thing(story, thing) for story in drawn]

    def rows(self, stories: list[Story], seed: int, first: int = 0) -> pa.Table:
        """The stories drawn."""
        canvas = Canvas(self.side, frame_rate=FRAMES_PER_EVENT, event_s=1.0)
        return drawn_rows(stories, canvas, seed, first, video_frames if self.in_step else out_of_step)

    def _scores(self, model: VideoTextModel) -> tuple[dict[str, float], torch.Tensor]:
        """Sorting of held-out clips and choice between their sentences and those of the clips played backwards."""
        held_out = replace(self, batch_size=self.num_held_out).stories(0, SEED_OF_DRAWN)
        rows = self.rows(held_out, SEED_OF_DRAWN)
        texts = [
            {"own": [narration(e) for e in s], "backwards": [narration(e) for e in backwards(s) or s]}
            for s in held_out
        ]
        captions = dict(zip(rows["uid"].to_pylist(), texts, strict=True))
        reader = Reader(model, captions, self.pixels, NUM_FRAMES)
        differ = [i for i, story in enumerate(held_out) if backwards(story)]
        scores = reader.scores((Sorting(),), test=rows)
        return scores | {"direction": _direction(reader.features(rows), differ)}, reader.pixels_of(rows)


def _direction(found: Columns, differ: list[int]) -> float:
    """Percent of clips whose own sentences are nearer than those of the same clip played backwards."""
    texts = torch.stack(
        [torch.from_numpy(found[f"texts/{name}"][differ]) for name in ("own", "backwards")], dim=1
    )
    video = torch.from_numpy(found["video"][differ])
    cosines = torch.nn.functional.cosine_similarity(video[:, None], texts, dim=-1)
    return 100 * float((cosines[:, 0] > cosines[:, 1]).double().mean())


def _stream(batch_size: int) -> Stream:
    reads = TVTSv2Reads(text="transcripts")
    return Stream("narrated", batch_size, reads, {"contrastive": 1.0, "sorting": 2.0}, NUM_FRAMES)


@lru_cache(maxsize=1)
def _batches(motions: Motions, seed: int) -> list[Batch]:
    """Every batch, the same for all variants."""
    prepare = Prepare(_stream(motions.batch_size), motions.system, motions.pixels, seed)
    batches = []
    for number in range(min(motions.steps, motions.num_batches)):
        first = number * motions.batch_size
        rows = planned(motions.rows(motions.stories(number, seed), seed, first), first)
        columns = prepare(chosen_frames(rows, 0, prepare.choice))
        tensors = {name: torch.from_numpy(np.array(part)) for name, part in columns.items()}
        batches.append(to_batch(tensors, motions.system))
    return list(islice(cycle(batches), motions.steps))
