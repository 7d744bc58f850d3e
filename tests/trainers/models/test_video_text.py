"""The model as a whole: published sizes, its start, and what must not change its outputs."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from tests.trainers.tiny import (
    CAPTIONED,
    NARRATED,
    SYSTEM,
    adamw,
    tiny_batch,
    tiny_model,
    tiny_pixels,
    tiny_task,
)
from trainers.loop.freezing import freeze, named_parameters
from trainers.loop.optimizers import build_optimizer
from trainers.loop.parts import means_of
from trainers.models.sizes import SortingHead, TextTower, VideoTower
from trainers.models.video_text import VideoTextModel
from trainers.objectives.sorting import sorting_losses
from trainers.systems.tvtsv2.settings import TVTSv2

B32 = TVTSv2()
B16 = TVTSv2(video=VideoTower(patch_size=16))
H14 = TVTSv2(
    flavour="h",
    embedding=1024,
    video=VideoTower(patch_size=14, width=1280, layers=32, heads=16),
    text=TextTower(width=1024, layers=24, heads=16),
    sorting=SortingHead(heads=16),
)
FEW_WORDS = replace(SYSTEM, text=replace(SYSTEM.text, vocabulary=64))
"""Steps of the whole table of tokens are most of what a training of the tiny model costs."""


def _count(model: nn.Module, *parts: str) -> int:
    return sum(
        p.numel() for name, p in model.named_parameters() if not parts or any(x in name for x in parts)
    )


@pytest.mark.parametrize(
    ("config", "video", "temporal", "text", "sorting", "frozen_blocks", "frozen"),
    [
        pytest.param(B32, 116_225_280, 28_366_848, 63_428_096, 6_308_868, 9, 28_371_456, id="b32"),
        pytest.param(B16, 114_568_704, 28_366_848, 63_428_096, 6_308_868, 9, 28_371_456, id="b16"),
        pytest.param(H14, 842_053_120, 209_960_960, 354_032_640, 25_200_644, 18, 226_732_032, id="h14"),
    ],
)
def test_the_published_sizes_have_the_published_parameter_counts(
    config: TVTSv2, video: int, temporal: int, text: int, sorting: int, frozen_blocks: int, frozen: int
) -> None:
    with torch.device("meta"):
        model = VideoTextModel(config)
    assert _count(model.video) == video
    assert _count(model.video, "timeattn", "ln_3") == temporal
    assert _count(model.text) == text
    assert _count(model.sorting) == sorting
    assert freeze(model, frozen_below={"text": frozen_blocks})["text"].frozen == frozen


@pytest.mark.parametrize(
    ("config", "frozen_blocks", "counts"),
    [
        pytest.param(B32, 9, (34_606_080, 69_636, 122_771_200, 143_872), id="b32"),
        pytest.param(H14, 18, (234_887_168, 274_436, 758_773_248, 619_520), id="h14"),
    ],
)
def test_the_optimiser_groups_have_the_published_element_counts(
    config: TVTSv2, frozen_blocks: int, counts: tuple[int, ...]
) -> None:
    with torch.device("meta"):
        model = VideoTextModel(config)
    freeze(model, frozen_below={"text": frozen_blocks})
    groups = build_optimizer(named_parameters(model), adamw(1e-4, 1e-7)).param_groups
    assert [group["name"] for group in groups] == ["new_decay", "new_nodecay", "rest_decay", "rest_nodecay"]
    assert tuple(sum(p.numel() for p in group["params"]) for group in groups) == counts


def test_the_same_seed_gives_the_same_weights() -> None:
    first, second, other = tiny_model(seed=1), tiny_model(seed=1), tiny_model(seed=2)
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name])
    assert not torch.equal(first.text.projection, other.text.projection)


def test_fresh_published_temporal_modules_say_nothing() -> None:
    model = tiny_model()
    for block in model.video.blocks:
        assert not block.timeattn(torch.randn(2, 1 + 3 * 4, SYSTEM.video.width), 3).any()


@pytest.mark.parametrize("start", ["as_published", "from_spatial"])
def test_temporal_queries_and_keys_train_only_from_a_start_that_breaks_the_tie(start: str) -> None:
    config = replace(FEW_WORDS, video=replace(SYSTEM.video, temporal_start=start))
    task = tiny_task(tiny_model(config))
    both = 2 * SYSTEM.video.width
    before = [block.timeattn.qkv.weight.detach().clone() for block in task.model.video.blocks]
    optimizer = build_optimizer(named_parameters(task.model), adamw(1e-2, 1e-3))
    for step in range(5):
        optimizer.zero_grad()
        losses = means_of(task(NARRATED, tiny_batch(seed=step), tiny_pixels(seed=step)))
        sum(losses.values()).backward()
        optimizer.step()
    for block, start_weight in zip(task.model.video.blocks, before, strict=True):
        query_key = block.timeattn.qkv.weight[:both]
        if start == "as_published":
            assert not query_key.any()
            assert not block.timeattn.qkv.bias[:both].any()
            assert_close(
                block.timeattn.proj.weight, block.timeattn.proj.weight[:, :1].expand(-1, SYSTEM.video.width)
            )
        else:
            assert (query_key - start_weight[:both]).abs().max() > 1e-4


@pytest.mark.parametrize("flavour", ["b", "h"])
def test_the_order_of_kept_patches_does_not_change_the_embedding(flavour: str) -> None:
    model, keep = tiny_model(replace(SYSTEM, flavour=flavour)), tiny_batch().inputs.keep
    _wake_temporal(model)
    once = model.encode_video(tiny_pixels(), keep)
    assert_close(model.encode_video(tiny_pixels(), keep.flip(1)).pooled, once.pooled)


@pytest.mark.parametrize("flavour", ["b", "h"])
def test_permuting_the_transcripts_permutes_the_rows_of_the_logits(flavour: str) -> None:
    model, batch = tiny_model(replace(SYSTEM, flavour=flavour)), tiny_batch()
    encoded = model.encode(tiny_pixels(), batch.inputs.tokens, batch.inputs.keep)
    order = torch.tensor([2, 0, 3, 1])
    logits = model.sort(encoded.video, encoded.texts)
    assert_close(model.sort(encoded.video, encoded.texts[:, order]), logits[:, order])


def test_padding_behind_the_end_token_is_not_seen() -> None:
    model, tokens = tiny_model(), tiny_batch().inputs.tokens[:, 0]
    padded = torch.cat([tokens, torch.zeros(4, 3, dtype=torch.int64)], dim=1)
    assert_close(model.encode_text(padded), model.encode_text(tokens))


def test_keeping_every_patch_in_order_equals_keeping_none_out() -> None:
    model = tiny_model()
    every = torch.arange(SYSTEM.video.num_patches).expand(4, -1)
    assert torch.equal(
        model.encode_video(tiny_pixels(), every).pooled, model.encode_video(tiny_pixels()).pooled
    )


def test_the_sorting_loss_trains_the_video_tower_and_never_the_text_tower() -> None:
    task = tiny_task()
    task(NARRATED, tiny_batch(), tiny_pixels())["sorting"].sum.backward()
    assert all(p.grad is None for p in task.model.text.parameters())
    assert task.model.video.patch_embedding.weight.grad.any()


def test_frozen_blocks_get_no_gradient_but_the_embedding_below_them_does() -> None:
    task = tiny_task()
    freeze(task.model, frozen_below={"text": 1})
    task(CAPTIONED, tiny_batch(texts=1), tiny_pixels())["contrastive"].sum.backward()
    assert all(p.grad is None for p in task.model.text.blocks[0].parameters())
    assert task.model.text.token_embedding.weight.grad.any()
    assert all(p.grad is not None for p in task.model.text.blocks[1].parameters())


def test_a_batch_is_learnt_by_heart() -> None:
    torch.manual_seed(0)
    video, sorting = (
        replace(SYSTEM.video, layers=2),
        replace(SYSTEM.sorting, depth=2),
    )  # fewer learn it more slowly
    task = tiny_task(tiny_model(replace(FEW_WORDS, video=video, sorting=sorting)))
    optimizer = build_optimizer(named_parameters(task.model), adamw(3e-3, 3e-3))
    for _ in range(60):
        optimizer.zero_grad()
        losses = means_of(task(NARRATED, tiny_batch(), tiny_pixels()))
        sum(losses.values()).backward()
        optimizer.step()
    assert losses["contrastive"] < 0.1
    logits = task.model.sort(*_encoded(task.model))
    assert sorting_losses(logits).mean() < 0.2


def _encoded(model: VideoTextModel) -> tuple[object, torch.Tensor]:
    encoded = model.encode(tiny_pixels(), tiny_batch().inputs.tokens, tiny_batch().inputs.keep)
    return encoded.video, encoded.texts


def _wake_temporal(model: VideoTextModel) -> None:
    for block in model.video.blocks:
        nn.init.normal_(block.timeattn.qkv.weight, std=0.2)
        nn.init.normal_(block.timeattn.proj.weight, std=0.2)
