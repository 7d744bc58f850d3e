"""What both comparisons do: train a learner on given batches, and read clips with the evaluation's own code."""

import tempfile
from collections.abc import Mapping

import pyarrow as pa
import torch
from torch import Tensor

from pipeline.embed import Embeddings, Encoder, gather
from pipeline.evaluate import Captions
from tests.experiments.measures import Curve
from trainers.batch import Batch
from trainers.loop import Learner, scheduled, train
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

    batches = scheduled(learner.stage, 0, [iter(stream) for stream in streams])
    with tempfile.TemporaryDirectory() as folder:
        train(learner, batches, log, lambda step, values: None, folder)
    return curve


class Reader:
    """The evaluation's own encoder over one model, without Ray."""

    def __init__(self, model: VideoTextModel, captions: Captions, pixels: Pixels, num_frames: int) -> None:
        self._encoder = Encoder(
            {"given": lambda: model},
            captions,
            pixels,
            num_frames,
            batch_size=50,
            on_gpu=torch.cuda.is_available(),
        )
        torch.set_num_threads(1)

    def embedded(self, clips: pa.Table) -> Embeddings:
        """Features of stored clips and what the sorting head says of them."""
        named = clips.append_column("stream", pa.array(["given"] * clips.num_rows))
        return gather(list(self._encoder(named)), "given", "given")

    def pixels_of(self, clips: pa.Table) -> Tensor:
        """The clips' frames as the video tower reads them."""
        return self._encoder._frames(clips)
