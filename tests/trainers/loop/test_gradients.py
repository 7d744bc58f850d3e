import copy

import pytest
import torch
from torch import nn
from torch.nn.utils import clip_grad_norm_

from trainers.loop.gradients import Gradients


def learnt(weights: list[list[float]]) -> tuple[nn.ModuleDict, Gradients]:
    """Two towers whose gradients are these numbers, and a third without one."""
    towers = nn.ModuleDict({name: nn.ParameterList([torch.ones(2)]) for name in ("video", "text", "unused")})
    for name, numbers in zip(("video", "text"), weights, strict=True):
        towers[name][0].grad = torch.tensor(numbers)
    return towers, Gradients(towers.named_parameters(), torch.optim.SGD(towers.parameters(), lr=0.1))


def test_a_tower_has_the_norm_of_its_own_gradients_and_all_together_that_of_all() -> None:
    _, gradients = learnt([[3.0, 4.0], [0.0, 12.0]])
    assert gradients.norm() == 13
    assert gradients.by_tower() == {"grad_norm/video": 5, "grad_norm/text": 12}


@pytest.mark.parametrize("max_norm", [0.7, 100.0])
def test_gradients_are_clipped_as_torch_does(max_norm: float) -> None:
    draw = torch.randn(2, 2).tolist()
    (ours, gradients), (theirs, _) = learnt(draw), learnt(copy.deepcopy(draw))
    gradients.clip(gradients.norm(), max_norm)
    clip_grad_norm_(theirs.parameters(), max_norm)
    for tower in ("video", "text"):
        assert torch.equal(ours[tower][0].grad, theirs[tower][0].grad)


def test_without_a_limit_gradients_stay_as_they_are() -> None:
    towers, gradients = learnt([[3e9, 4.0], [0.1, 12.0]])
    gradients.clip(gradients.norm(), None)
    assert torch.equal(towers["video"][0].grad, torch.tensor([3e9, 4.0]))
