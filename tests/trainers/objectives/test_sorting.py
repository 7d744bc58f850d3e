from math import log

import torch
from torch.testing import assert_close

from trainers.objectives.sorting import mean_over_valid, sorting_losses


def test_logits_that_say_nothing_cost_the_log_of_k() -> None:
    assert_close(sorting_losses(torch.zeros(2, 4, 4)), torch.full((2,), log(4)))


def test_row_k_belongs_to_place_k() -> None:
    right = 100 * torch.eye(4)[None]
    assert_close(sorting_losses(right), torch.zeros(1))
    assert_close(sorting_losses(right.flip(1)), torch.full((1,), 100.0))


def test_the_mean_is_taken_over_valid_clips() -> None:
    losses = torch.tensor([1.0, 3.0, 100.0])
    assert mean_over_valid(losses, torch.tensor([True, True, False])) == 2
    assert mean_over_valid(losses, torch.zeros(3, dtype=torch.bool)) == 0
