"""The count against torch's own, which watches the products of the published models, with fewer blocks, go by without
doing them."""

from dataclasses import replace

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from tests.trainers.models.test_video_text import B16, B32, H14
from tests.trainers.small_models import small_batch
from trainers.batch import Batch
from trainers.flops import forward_flops, peak_flops, step_flops
from trainers.freezing import freeze
from trainers.masks import num_kept
from trainers.models.video_text import VideoTextModel
from trainers.recipe import Model, Pixels, Stage, Stream, Training
from trainers.task import Task


def _short(model: Model) -> Model:
    return replace(model, video=replace(model.video, layers=3), text=replace(model.text, layers=4))


NARRATED = Stream("narrated", 2, "transcripts", {"contrastive": 1.0, "sorting": 2.0})
CAPTIONED = Stream("captioned", 2, "captions", {"contrastive": 1.0})


@pytest.mark.parametrize(
    ("model", "stream", "stage"),
    [
        pytest.param(B32, NARRATED, {"frozen_text_blocks": 3}, id="b32"),
        pytest.param(B16, replace(NARRATED, mask_ratio=0.5), {}, id="b16"),
        pytest.param(H14, replace(NARRATED, mask_ratio=0.7), {"frozen_text_blocks": 3}, id="h14"),
        pytest.param(
            B32, CAPTIONED, {"frozen_text_blocks": 3, "frozen_text_embeddings": True}, id="captions"
        ),
        pytest.param(
            B32, NARRATED, {"freeze": ("text.*", "video.blocks.[0-1].*", "video.[!b]*")}, id="frozen"
        ),
    ],
)
def test_the_count_is_that_of_torch_to_a_thousandth(
    model: Model, stream: Stream, stage: dict[str, object]
) -> None:
    model, settings = _short(model), Stage("counted", (stream,), 1, **stage)
    training = Training(model, Pixels(), (settings,))
    forward, both = _counted_by_torch(model, stream, settings)
    assert 2 * forward_flops(training, settings, stream) == pytest.approx(forward, rel=1e-3)
    assert 2 * step_flops(training, settings, stream) == pytest.approx(both, rel=1e-3)


def test_shorter_texts_cost_less() -> None:
    stage = Stage("counted", (NARRATED,), 1)
    training = Training(B32, Pixels(), (stage,))
    assert step_flops(training, stage, NARRATED, context=20) < step_flops(training, stage, NARRATED)


def test_the_peak_of_a_processor_is_not_known() -> None:
    assert peak_flops(torch.device("cpu"), "bf16") is None


def _counted_by_torch(model: Model, stream: Stream, stage: Stage) -> tuple[int, int]:
    """FLOPs of two clips, forward and forward + backward. Plain attention: torch counts it on every device."""
    batch, fake = _batch(model, stream), FakeTensorMode(allow_non_fake_inputs=True)
    with fake, sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        task = Task(VideoTextModel(model), 0.05, "published")
        freeze(task.model, stage.freeze, stage.frozen_text_blocks, stage.frozen_text_embeddings)
        losses = task(stream, batch, torch.empty(2, stream.frames, 3, 224, 224))
        forward = counter.get_total_flops()
        torch.stack(list(losses.values())).sum().backward()
    return forward, counter.get_total_flops()


def _batch(model: Model, stream: Stream) -> Batch:
    texts = model.sorting.transcripts if stream.text == "transcripts" else 1
    kept = num_kept((model.video.image_size // model.video.patch_size) ** 2, stream.mask_ratio)
    tokens = torch.zeros(2, texts, model.text.context, dtype=torch.int64)
    return replace(small_batch(2), tokens=tokens, keep=torch.arange(kept).expand(2, -1))
