"""The comparison on the demo's shards: the tiny recipe's two stages in this process, then its own evaluation."""

import time
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import pyarrow as pa

from ingest.stores.ledger import Ledger
from ingest.stores.shards import part_uri, parts_of, read_part
from pipeline.demo.grammar import narration
from pipeline.demo.scenes import Canvas
from pipeline.recipes.tvtsv2 import NUM_FRAMES, tvtsv2_tiny
from tests.experiments.measures import (
    moved,
    plateau_left,
    temporal_parameters,
    temporal_share,
    thinned,
    told_by_text,
    yardstick,
)
from tests.experiments.motion_clips import Draw, drawn_rows, drawn_stories, four_things, motions_alone
from tests.experiments.runs import CPU, SEED_OF_DRAWN, Reader, trained
from tests.experiments.variants import TEMPORAL_MODULES, Variant
from tests.trainers.tiny import plain_batches
from trainers.checkpoints.checkpoint import MODEL_FILE, save
from trainers.data.batch import Batch
from trainers.evaluation.protocol import Captions
from trainers.evaluation.protocols.retrieval import Retrieval
from trainers.evaluation.protocols.sorting import Sorting
from trainers.evaluation.protocols.twins import Twins
from trainers.loop.train import build_learner
from trainers.models.video_text import VideoTextModel
from trainers.recipe import Training

PIXELS = tvtsv2_tiny().training.pixels


@dataclass(frozen=True)
class Demo:
    """The demo's shards and held-out captions, and how much of them is used."""

    store: str
    captions: Captions = field(compare=False)
    """Of the held-out clips."""
    work: Path
    """Where the weights after the first stage are kept."""
    steps: tuple[int, int] = (220, 400)
    """Of the two stages."""
    num_drawn: int = 60
    """Clips drawn for evaluation beside the stored ones, of each kind."""

    def training(self, seed: int) -> Training:
        """The tiny recipe. Temporal modules wait for the second stage, so that all variants share the first."""
        training = tvtsv2_tiny().training
        stills, second = (
            replace(stage, steps=steps) for stage, steps in zip(training.stages, self.steps, strict=True)
        )
        stages = (replace(stills, freeze=TEMPORAL_MODULES), second)
        launch = replace(training.launch, log_every=1, checkpoint_every=10**9)
        return replace(training, seed=seed, stages=stages, launch=launch)

    def run(self, variant: Variant, seed: int) -> dict[str, Any]:
        """Train the second stage and evaluate it: metrics by name, and the curve of the sorting loss."""
        started = time.monotonic()
        training = self.training(seed)
        training = replace(training, stages=(training.stages[0], variant.stage(training.stages[1])))
        learner = build_learner(training, 1, CPU, start=self._after_stills(seed), resume=None)
        video = learner.task.model.video
        variant.begin(video)
        before, size = temporal_parameters(video), yardstick(video)
        curve = trained(learner, _batches(self, seed, 1))
        learner.task.model.eval()
        return {
            "left_at": plateau_left(curve),
            **self._scores(learner.task.model),
            **moved(before, temporal_parameters(video), size),
            "curve": thinned(curve),
            "seconds": round(time.monotonic() - started, 1),
        }

    def _after_stills(self, seed: int) -> str:
        """Checkpoint of the first stage, made once a seed."""
        folder = self.work / f"stills-{self.steps[0]}-seed-{seed}"
        if not (folder / MODEL_FILE).exists():
            training = self.training(seed)
            learner = build_learner(training, 0, CPU, start=None, resume=None)
            trained(learner, _batches(self, seed, 0))
            folder.mkdir(parents=True, exist_ok=True)
            save(folder, learner.task.model, learner.state(), training, {})
        return str(folder)

    def _scores(self, model: VideoTextModel) -> dict[str, float]:
        """The recipe's evaluation, and sorting of clips drawn here: like the demo's, and with motions alone."""
        reader = Reader(model, self.captions, PIXELS, NUM_FRAMES)
        stored = {stream: self._stored(stream) for stream in ("test", "twins")}
        found = reader.scores((Retrieval(), Sorting(), Twins()), **stored)
        for name, draw in (("like_demo", four_things), ("motions", motions_alone)):
            rows, texts = self._drawn(draw)
            drawn = Reader(model, texts, PIXELS, NUM_FRAMES).scores((Sorting(),), test=rows)
            found |= {f"{name}/{metric.split('/')[1]}": value for metric, value in drawn.items()}
        pixels = reader.pixels_of(stored["test"].slice(0, 16))
        return found | temporal_share(model.video, pixels) | {"text_motion": told_by_text(model)}

    def _stored(self, stream: str) -> pa.Table:
        parts = parts_of(Ledger(self.store, stream).committed().values())
        return pa.concat_tables(read_part(part_uri(self.store, stream, part.name)) for part in parts)

    def _drawn(self, draw: Draw) -> tuple[pa.Table, Captions]:
        """Frames are drawn, kept as JPEG and resized by the recipe; they do not pass through an mp4."""
        stories = drawn_stories(draw, self.num_drawn, SEED_OF_DRAWN)
        rows = drawn_rows(stories, Canvas(), SEED_OF_DRAWN)
        texts = [{"A": [narration(event) for event in story]} for story in stories]
        return rows, dict(zip(rows["uid"].to_pylist(), texts, strict=True))


@lru_cache(maxsize=1)
def _batches(demo: Demo, seed: int, stage: int) -> list[list[Batch]]:
    """Every batch of a stage, the same for all variants."""
    training = demo.training(seed)
    one = replace(training, stages=(training.stages[stage],))
    return [list(plain_batches(demo.store, one, index)) for index in range(len(one.stages[0].streams))]
