"""What blocks keep for the backward pass, and that keeping less changes nothing."""

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from tests.trainers.tiny import NARRATED, SYSTEM, adamw, tiny_batch, tiny_model, tiny_pixels, tiny_task
from trainers.loop.freezing import freeze, named_parameters
from trainers.loop.optimizers import build_optimizer
from trainers.loop.parts import means_of
from trainers.models.blocks import Blocks, compile_blocks, recompute_activations
from trainers.models.video_text import VideoTextModel
from trainers.systems.tvtsv2.settings import TEXT_EMBEDDINGS


def test_frozen_blocks_keep_nothing_once_the_embeddings_below_them_are_frozen() -> None:
    model = tiny_model()
    tokens = tiny_batch().inputs.tokens.flatten(0, 1)
    freeze(model, frozen_below={"text": 1})
    through = _kept(lambda: model.text.blocks(model.text.embed(tokens), count=1))
    freeze(model, freeze=TEXT_EMBEDDINGS, frozen_below={"text": 1})
    assert through > 0
    assert _kept(lambda: model.text.blocks(model.text.embed(tokens), count=1)) == 0


def test_frozen_embeddings_change_neither_the_losses_nor_the_other_gradients() -> None:
    trained, frozen = tiny_model(), tiny_model()
    freeze(trained, frozen_below={"text": 1})
    freeze(frozen, freeze=TEXT_EMBEDDINGS, frozen_below={"text": 1})
    expected, found = _gradients(trained), _gradients(frozen)
    assert expected.keys() - found.keys() == set(TEXT_EMBEDDINGS)
    assert_close(found, {name: expected[name] for name in found}, rtol=0, atol=0)


def test_what_is_frozen_has_no_optimiser_state() -> None:
    model = tiny_model()
    freeze(model, freeze=TEXT_EMBEDDINGS, frozen_below={"text": 1})
    optimizer = build_optimizer(named_parameters(model), adamw(1e-4, 1e-7))
    _gradients(model)
    optimizer.step()
    assert set(optimizer.state) == {p for p in model.parameters() if p.requires_grad}


def test_running_blocks_again_keeps_less_and_gives_the_same_gradients_bit_for_bit() -> None:
    taller = replace(SYSTEM, video=replace(SYSTEM.video, layers=2))  # blocks keep most of what is kept
    kept_whole, again = tiny_model(taller), tiny_model(taller)
    recompute_activations(again)
    assert _kept(lambda: _losses(again)) < _kept(lambda: _losses(kept_whole)) / 2
    assert_close(_gradients(again), _gradients(kept_whole), rtol=0, atol=0)


def test_blocks_that_are_run_again_draw_what_they_drew() -> None:
    kept_whole, again = (_with_dropout() for _ in range(2))
    recompute_activations(again)
    x = torch.randn(4, 8)
    found = []
    for blocks in (kept_whole, again):
        torch.manual_seed(1)
        out = blocks(x)
        out.square().sum().backward()
        found.append({"out": out, **{name: p.grad for name, p in blocks.named_parameters()}})
    assert (found[0]["out"] == 0).any()  # something was dropped
    assert_close(found[1], found[0], rtol=0, atol=0)


def _with_dropout() -> Blocks:
    torch.manual_seed(0)
    return Blocks(nn.Sequential(nn.Linear(8, 8), nn.Dropout(0.5)) for _ in range(3))


@pytest.mark.slow
def test_compiled_blocks_give_the_same_losses() -> None:
    """In a process of its own: torch.compile cannot see through the shape checks that are on here."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        plain, compiled = process.submit(_plain_and_compiled).result()
    (losses, gradients), (compiled_losses, compiled_gradients) = plain, compiled
    assert_close(compiled_losses, losses, rtol=1e-5, atol=1e-5)
    assert_close(compiled_gradients, gradients, rtol=1e-4, atol=1e-5)


def _plain_and_compiled() -> list[tuple[dict[str, Tensor], dict[str, Tensor]]]:
    plain, compiled = tiny_model(), tiny_model()
    compile_blocks(compiled)
    assert list(compiled.state_dict()) == list(plain.state_dict())
    return [
        ({name: loss.detach() for name, loss in _losses(model).items()}, _gradients(model))
        for model in (plain, compiled)
    ]


def _losses(model: VideoTextModel) -> dict[str, Tensor]:
    return means_of(tiny_task(model)(NARRATED, tiny_batch(), tiny_pixels()))


def _gradients(model: VideoTextModel) -> dict[str, Tensor]:
    torch.stack(list(_losses(model).values())).sum().backward()
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def _kept(work: Callable[[], object]) -> int:
    """Elements of the tensors that a forward pass keeps for the backward one."""
    sizes: list[int] = []

    def keep(tensor: Tensor) -> Tensor:
        sizes.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        held = work()  # noqa: F841  # the graph lives as long as this
    return sum(sizes)
