"""What both comparisons do: train a learner on given batches, and read clips with the evaluation's own code."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa
import torch
from torch import Tensor

from ingest.order.choice import chosen_frames
from pipeline.evaluation.cluster.embed import Collector, Gallery, Models, gathered
from pipeline.evaluation.evaluate import score
from tests.experiments.measures import Curve
from trainers.data.batch import Batch
from trainers.evaluation.dual_encoder import Features
from trainers.evaluation.protocol import Captions, Collect, Columns, HeldOut, Protocol, Round
from trainers.evaluation.rounds import Collected, RoundsByModel
from trainers.evaluation.shown import Loaded, Shown
from trainers.loop.train import Learner, scheduled, train
from trainers.models.video_text import VideoTextModel
from trainers.recipe import Pixels

CPU = torch.device("cpu")
SEED_OF_DRAWN = 1000
"""Of the clips drawn for evaluation; training draws with the seeds of its runs."""


def trained(learner: Learner, streams: list[list[Batch]]) -> Curve:
    """Train to the end of the stage, on one thread; the sorting loss of every narrated step."""
    torch.set_num_threads(1)
    curve: list[tuple[int, float]] = []

    def log(step: int, values: Mapping[str, float]) -> None:
        if "narrated/sorting" in values:
            curve.append((step, values["narrated/sorting"]))

    batches = scheduled(learner.stage, learner.training.seed, 0, [iter(stream) for stream in streams])
    with tempfile.TemporaryDirectory() as folder:
        train(learner, batches, log, lambda step, values: None, folder)
    return curve


class Reader:
    """The evaluation's own code over one model, without Ray or a store; its held-out stream is "test"."""

    def __init__(self, model: VideoTextModel, captions: Captions, pixels: Pixels, num_frames: int) -> None:
        held_out = HeldOut("test", model.config, captions, {})
        self._gallery = Gallery(held_out, "", pixels, num_frames, batch_size=50)
        load = {"given": lambda: (model, model.config)}
        self._models = Models.load(load, held_out, on_gpu=torch.cuda.is_available(), threads=1)

    def scores(self, protocols: Sequence[Protocol], **streams: pa.Table) -> dict[str, float]:
        """The numbers of protocols on stored clips by stream."""
        held_out, collecting = self._gallery.held_out, partial(self._collect, streams)
        return score(held_out, ["given"], protocols, collecting)["given"].values

    def features(self, clips: pa.Table) -> Columns:
        """Features of stored clips and of their texts."""
        return self._one(clips, Features())

    def pixels_of(self, clips: pa.Table) -> Tensor:
        """The clips' frames as the video tower reads them."""
        return torch.from_numpy(self._one(clips, Seen())["pixels"])

    def _one(self, clips: pa.Table, collect: Collect) -> Columns:
        asked = Round(("test",), collect)
        return self._collect({"test": clips}, {"given": [asked]})["given"][0]["test"]

    def _collect(self, streams: Mapping[str, pa.Table], job: RoundsByModel) -> Collected:
        collector = Collector(self._gallery, self._models, job)
        named = [
            chosen_frames(clips, 0, self._gallery.choice).append_column(
                "stream", pa.array([name] * clips.num_rows)
            )
            for name, clips in streams.items()
        ]
        return gathered([part for clips in named for part in collector(clips)], job)


@dataclass(frozen=True)
class Seen:
    """What the video tower reads."""

    def __call__(self, loaded: Loaded) -> Callable[[Shown], dict[str, Any]]:
        """As it is shown."""
        return lambda shown: {"pixels": shown.pixels.cpu().numpy()}
