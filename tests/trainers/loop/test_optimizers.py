import pytest
import torch
from torch import nn
from torch.testing import assert_close

from tests.trainers.tiny import adamw, tiny_model
from trainers.loop.freezing import named_parameters
from trainers.loop.optimizers import build_optimizer
from trainers.recipe import Optimizer, Rate

FAST = {"all": Rate(0.1)}


@pytest.mark.parametrize(
    ("name", "group"),
    [
        ("video.blocks.0.timeattn.qkv.weight", "new_decay"),
        ("video.blocks.0.timeattn.proj.bias", "new_nodecay"),
        ("video.blocks.0.ln_3.weight", "new_nodecay"),
        ("video.temporal_embedding", "rest_decay"),
        ("video.blocks.0.attn.qkv.weight", "rest_decay"),
        ("video.ln_pre.weight", "rest_nodecay"),
        ("text.token_embedding.weight", "rest_decay"),
        ("sorting.type_embedding", "new_decay"),
        ("sorting.norm.weight", "new_nodecay"),
    ],
)
def test_the_name_decides_the_group(name: str, group: str) -> None:
    named = named_parameters(tiny_model())
    groups = build_optimizer(named, adamw(1e-4, 1e-7)).param_groups
    assert [each["name"] for each in groups if any(p is named[name] for p in each["params"])] == [group]


def test_a_pattern_that_matches_nothing_and_a_parameter_without_a_rate_are_errors() -> None:
    named = named_parameters(tiny_model())
    with pytest.raises(ValueError, match=r"optimizer\.rates\.head: 'sortin\.\*' matches no parameter; near"):
        build_optimizer(named, Optimizer({"head": Rate(1.0, ("sortin.*",)), "rest": Rate(1.0)}))
    with pytest.raises(ValueError, match=r"undecayed: '\*nrom\*' matches no parameter"):
        build_optimizer(named, Optimizer(undecayed=("*nrom*",)))
    with pytest.raises(
        ValueError, match=r"optimizer\.rates: no rate has a pattern for video\.class_embedding"
    ):
        build_optimizer(named, Optimizer({"text": Rate(1.0, ("text.*",))}))


def test_the_first_published_step_is_the_rate_times_the_gradients_sign_then_the_decay() -> None:
    # m = 0.1 g and sqrt(v) = sqrt(0.001) g; the corrections give lr * g / (g + eps / sqrt(0.001))
    weight = nn.Parameter(torch.tensor([1.0, 1.0]))
    optimizer = build_optimizer({"weight": weight}, Optimizer(FAST, weight_decay=0.5, eps=1e-3))
    weight.grad = torch.tensor([2.0, -0.5])
    optimizer.step()
    stepped = 1 - 0.1 * weight.grad / (weight.grad.abs() + 1e-3 / 0.001**0.5)
    assert_close(weight.detach(), stepped * (1 - 0.1 * 0.5))


@pytest.mark.parametrize("form", ["published", "torch"])
def test_a_parameter_unused_in_a_step_moves_by_its_moments_or_stays_as_the_setting_says(form: str) -> None:
    for unused, moves in (("step", True), ("skip", False)):
        weight = nn.Parameter(torch.ones(3))
        optimizer = build_optimizer({"weight": weight}, Optimizer(form=form, unused=unused))
        weight.grad = torch.ones(3)
        optimizer.step()
        after_one = weight.detach().clone()
        optimizer.zero_grad(set_to_none=True)
        optimizer.step()
        assert torch.equal(weight, after_one) != moves


def test_a_parameter_that_joins_later_begins_with_a_first_step_of_its_own() -> None:
    early, late = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(3))
    optimizer = build_optimizer({"early": early, "late": late}, Optimizer(FAST))
    early.grad = torch.tensor([1.0, -2.0, 3.0])
    optimizer.step()
    first = early.detach().clone()
    late.grad = early.grad.clone()
    optimizer.step()
    assert torch.equal(late, first)


def test_a_parameter_that_was_never_used_is_not_even_decayed() -> None:
    weight = nn.Parameter(torch.ones(3))
    optimizer = build_optimizer({"weight": weight}, Optimizer())
    optimizer.step()
    assert torch.equal(weight, torch.ones(3))


def test_a_resumed_optimizer_steps_as_if_it_had_never_stopped() -> None:
    def run(stops: bool) -> torch.Tensor:
        weight = nn.Parameter(torch.ones(3))
        optimizer = build_optimizer({"weight": weight}, Optimizer(FAST))
        for step in range(4):
            if stops and step == 2:
                state = optimizer.state_dict()
                optimizer = build_optimizer({"weight": weight}, Optimizer(FAST))
                optimizer.load_state_dict(state)
            weight.grad = torch.full((3,), float(step + 1))
            optimizer.step()
        return weight.detach()

    assert torch.equal(run(stops=True), run(stops=False))
