"""The count against torch's own, which watches the products of the published models, with fewer blocks, go by without
doing them."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from tests.trainers.models.test_video_text import B16, B32, H14
from tests.trainers.tiny import tiny_batch, tiny_task
from trainers.data.batch import Batch
from trainers.loop.flops import forward_flops, peak_flops, step_flops
from trainers.loop.freezing import freeze
from trainers.models.video_text import VideoTextModel
from trainers.objectives.settings import Contrastive, Sorting
from trainers.recipe import Stage, Stream
from trainers.systems.tvtsv2.rows import TVTSv2Reads, num_kept
from trainers.systems.tvtsv2.settings import TEXT_EMBEDDINGS, TVTSv2
from trainers.systems.tvtsv2.system import Inputs

OBJECTIVES = (Contrastive(), Sorting())


def _short(system: TVTSv2) -> TVTSv2:
    return replace(system, video=replace(system.video, layers=3), text=replace(system.text, layers=4))


def _narrated(mask_ratio: float = 0.0) -> Stream:
    return Stream(
        "narrated",
        2,
        TVTSv2Reads(text="transcripts", mask_ratio=mask_ratio),
        {"contrastive": 1.0, "sorting": 2.0},
    )


CAPTIONED = Stream("captioned", 2, TVTSv2Reads(), {"contrastive": 1.0})
LOWER_TEXT = {"frozen_below": {"text": 3}}


@pytest.mark.parametrize(
    ("system", "stream", "stage"),
    [
        pytest.param(B32, _narrated(), LOWER_TEXT, id="b32"),
        pytest.param(B16, _narrated(0.5), {}, id="b16"),
        pytest.param(H14, _narrated(0.7), LOWER_TEXT, id="h14"),
        pytest.param(B32, CAPTIONED, {**LOWER_TEXT, "freeze": TEXT_EMBEDDINGS}, id="captions"),
        pytest.param(
            B32, _narrated(), {"freeze": ("text.*", "video.blocks.[0-1].*", "video.[!b]*")}, id="frozen"
        ),
    ],
)
def test_the_count_is_that_of_torch_to_a_thousandth(
    system: TVTSv2, stream: Stream, stage: dict[str, Any]
) -> None:
    system, settings = _short(system), Stage("counted", (stream,), OBJECTIVES, 1, **stage)
    forward, both = _counted_by_torch(system, stream, settings)
    assert 2 * forward_flops(system, settings, stream) == pytest.approx(forward, rel=1e-3)
    assert 2 * step_flops(system, settings, stream) == pytest.approx(both, rel=1e-3)


def test_shorter_texts_cost_less() -> None:
    stream = _narrated()
    stage = Stage("counted", (stream,), OBJECTIVES, 1)
    assert step_flops(B32, stage, stream, context=20) < step_flops(B32, stage, stream)


def test_the_peak_of_a_processor_is_not_known() -> None:
    assert peak_flops(torch.device("cpu"), "bf16") is None


def _counted_by_torch(system: TVTSv2, stream: Stream, stage: Stage) -> tuple[int, int]:
    """FLOPs of two clips, forward and forward + backward. Plain attention: torch counts it on every device."""
    batch, fake = _batch(system, stream), FakeTensorMode(allow_non_fake_inputs=True)
    with fake, sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        task = tiny_task(VideoTextModel(system))
        freeze(task.model, freeze=stage.freeze, frozen_below=stage.frozen_below)
        losses = task(stream, batch, torch.empty(2, stream.frames, 3, 224, 224))
        forward = counter.get_total_flops()
        torch.stack([loss.sum for loss in losses.values()]).sum().backward()
    return forward, counter.get_total_flops()


def _batch(system: TVTSv2, stream: Stream) -> Batch:
    texts = system.sorting.transcripts if stream.reads.text == "transcripts" else 1
    kept = num_kept(system.video.num_patches, stream.reads.mask_ratio)
    tokens = torch.zeros(2, texts, system.text.context, dtype=torch.int64)
    return replace(tiny_batch(2), inputs=Inputs(tokens, torch.arange(kept).expand(2, -1)))
