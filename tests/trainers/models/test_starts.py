"""How the temporal attention starts: silent whatever the start, and which of its parts can then learn."""

from dataclasses import replace
from typing import get_args

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from tests.trainers.tiny import NARRATED, SYSTEM, adamw, tiny_batch, tiny_model, tiny_pixels, tiny_task
from trainers.loop.freezing import named_parameters
from trainers.loop.optimizers import build_optimizer
from trainers.loop.parts import means_of
from trainers.loop.task import Task
from trainers.models.sizes import TemporalStart
from trainers.models.starts import start_temporal_attention
from trainers.models.towers.video import Block
from trainers.models.video_text import VideoTextModel

STARTS = get_args(TemporalStart)
BETTER = [start for start in STARTS if start != "as_published"]
WIDTH = SYSTEM.video.width


def _started(start: TemporalStart) -> VideoTextModel:
    few_words = replace(SYSTEM.text, vocabulary=64)  # steps of the whole table would be most of the work
    return tiny_model(replace(SYSTEM, video=replace(SYSTEM.video, temporal_start=start), text=few_words))


def _blocks(model: VideoTextModel) -> list[Block]:
    return [block for block in model.video.blocks if isinstance(block, Block)]


def _backward(task: Task, seed: int) -> None:
    losses = means_of(task(NARRATED, tiny_batch(seed=seed), tiny_pixels(seed=seed)))
    sum(losses.values()).backward()


@pytest.mark.parametrize("start", STARTS)
def test_whatever_the_start_the_tower_computes_what_it_would_without_temporal_modules(
    start: TemporalStart,
) -> None:
    model = _started(start)
    without = model.encode_video(tiny_pixels()).pooled
    for block in _blocks(model):
        block.timeattn.qkv.weight.data.zero_()
        block.timeattn.proj.weight.data.zero_()
    assert torch.equal(model.encode_video(tiny_pixels()).pooled, without)


@pytest.mark.parametrize("start", BETTER)
def test_after_three_steps_every_part_has_moved_from_the_better_starts(start: TemporalStart) -> None:
    task = tiny_task(_started(start))
    optimizer = build_optimizer(named_parameters(task.model), adamw(1e-2, 1e-3))
    before = [_parts(block) for block in _blocks(task.model)]
    for step in range(3):
        optimizer.zero_grad()
        _backward(task, seed=step)
        optimizer.step()
    for block, start_parts in zip(_blocks(task.model), before, strict=True):
        for name, part in _parts(block).items():
            assert (part - start_parts[name]).abs().max() > 1e-4, name


def test_at_the_published_start_only_the_output_bias_has_a_gradient_beyond_rounding() -> None:
    """Its output lies along the direction that the LayerNorm behind it removes, so even v gets none."""
    task = tiny_task(_started("as_published"))
    _backward(task, seed=0)
    for block in _blocks(task.model):
        qkv, proj = block.timeattn.qkv.weight.grad, block.timeattn.proj
        assert not qkv[: 2 * WIDTH].any()
        assert not proj.weight.grad.any()
        assert qkv[2 * WIDTH :].norm() < 1e-5 * block.attn.qkv.weight.grad[2 * WIDTH :].norm()
        assert proj.bias.grad.norm() > 1e-2


@pytest.mark.parametrize("start", BETTER)
def test_the_better_starts_read_the_spatial_weights_that_are_there(start: TemporalStart) -> None:
    model = tiny_model()
    for parameter in model.parameters():
        parameter.data.normal_()  # as if weights had been loaded
    start_temporal_attention(model.video, start)
    for block in _blocks(model):
        assert_close(block.timeattn.qkv.weight, block.attn.qkv.weight)
        assert not block.timeattn.proj.weight.any()
        assert not block.timeattn.proj.bias.any()


def _parts(block: Block) -> dict[str, Tensor]:
    query, key, value = block.timeattn.qkv.weight.detach().clone().split(WIDTH)
    return {"q": query, "k": key, "v": value, "proj": block.timeattn.proj.weight.detach().clone()}
