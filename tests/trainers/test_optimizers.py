from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from trainers.optimizers import build_optimizer, is_decayed, is_new, rate_factor
from trainers.recipe import Optimizer


@pytest.mark.parametrize(
    ("name", "new", "decayed"),
    [
        ("video.blocks.0.timeattn.qkv.weight", True, True),
        ("video.blocks.0.timeattn.proj.bias", True, False),
        ("video.blocks.11.ln_3.weight", True, False),
        ("video.temporal_embedding", False, True),
        ("video.blocks.0.attn.qkv.weight", False, True),
        ("video.ln_pre.weight", False, False),
        ("text.token_embedding.weight", False, True),
        ("sorting.type_embedding", True, True),
        ("sorting.norm.weight", True, False),
    ],
)
def test_the_name_decides_the_group(name: str, new: bool, decayed: bool) -> None:
    assert (is_new(name), is_decayed(name)) == (new, decayed)


def test_the_first_published_step_is_the_rate_times_the_gradients_sign_then_the_decay() -> None:
    # m = 0.1 g and sqrt(v) = sqrt(0.001) g; the corrections give lr * g / (g + eps / sqrt(0.001))
    weight = nn.Parameter(torch.tensor([1.0, 1.0]))
    optimizer = build_optimizer(
        [("sorting.weight", weight)], Optimizer(lr_new=0.1, weight_decay=0.5, eps=1e-3)
    )
    weight.grad = torch.tensor([2.0, -0.5])
    optimizer.step()
    stepped = 1 - 0.1 * weight.grad / (weight.grad.abs() + 1e-3 / 0.001**0.5)
    assert_close(weight.detach(), stepped * (1 - 0.1 * 0.5))


@pytest.mark.parametrize("form", ["published", "torch"])
def test_a_parameter_unused_in_a_step_moves_by_its_moments_or_stays_as_the_setting_says(form: str) -> None:
    for unused, moves in (("step", True), ("skip", False)):
        weight = nn.Parameter(torch.ones(3))
        optimizer = build_optimizer([("sorting.weight", weight)], Optimizer(form=form, unused=unused))
        weight.grad = torch.ones(3)
        optimizer.step()
        after_one = weight.detach().clone()
        optimizer.zero_grad(set_to_none=True)
        optimizer.step()
        assert torch.equal(weight, after_one) != moves


def test_a_parameter_that_joins_later_begins_with_a_first_step_of_its_own() -> None:
    early, late = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(3))
    optimizer = build_optimizer([("sorting.early", early), ("sorting.late", late)], Optimizer(lr_new=0.1))
    early.grad = torch.tensor([1.0, -2.0, 3.0])
    optimizer.step()
    first = early.detach().clone()
    late.grad = early.grad.clone()
    optimizer.step()
    assert torch.equal(late, first)


def test_a_parameter_that_was_never_used_is_not_even_decayed() -> None:
    weight = nn.Parameter(torch.ones(3))
    optimizer = build_optimizer([("sorting.weight", weight)], Optimizer())
    optimizer.step()
    assert torch.equal(weight, torch.ones(3))


def test_rates_drop_after_the_sixth_and_the_eighth_epoch() -> None:
    config = Optimizer(schedule="epoch_drops", steps_per_epoch=10)
    factors = [rate_factor(step, 100, config) for step in (0, 59, 60, 79, 80, 99)]
    assert factors == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])


def test_warm_up_rises_to_the_full_rate_and_cosine_falls_from_it() -> None:
    config = replace(Optimizer(), warmup_steps=4, schedule="cosine")
    assert [rate_factor(step, 12, config) for step in (0, 3, 4, 8, 12)] == pytest.approx([0.25, 1, 1, 0.5, 0])


def test_a_resumed_optimizer_steps_as_if_it_had_never_stopped() -> None:
    def run(stops: bool) -> torch.Tensor:
        weight = nn.Parameter(torch.ones(3))
        optimizer = build_optimizer([("sorting.weight", weight)], Optimizer(lr_new=0.1))
        for step in range(4):
            if stops and step == 2:
                state = optimizer.state_dict()
                optimizer = build_optimizer([("sorting.weight", weight)], Optimizer(lr_new=0.1))
                optimizer.load_state_dict(state)
            weight.grad = torch.full((3,), float(step + 1))
            optimizer.step()
        return weight.detach()

    assert torch.equal(run(stops=True), run(stops=False))
