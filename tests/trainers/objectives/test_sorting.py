from math import log

import torch
from torch.testing import assert_close

from tests.trainers.tiny import NARRATED, tiny_batch, tiny_pixels, tiny_task
from trainers.objectives.sorting import sorting_losses


def test_logits_that_say_nothing_cost_the_log_of_k() -> None:
    assert_close(sorting_losses(torch.zeros(2, 4, 4)), torch.full((2,), log(4)))


def test_row_k_belongs_to_place_k() -> None:
    right = 100 * torch.eye(4)[None]
    assert_close(sorting_losses(right), torch.zeros(1))
    assert_close(sorting_losses(right.flip(1)), torch.full((1,), 100.0))


def test_the_sum_and_the_count_are_of_clips_that_could_be_read() -> None:
    task, pixels = tiny_task(), tiny_pixels()
    total, count = task(NARRATED, tiny_batch(valid=[1, 0, 1, 0]), pixels)["sorting"]
    alone = [
        task(NARRATED, tiny_batch().rows(slice(row, row + 1)), pixels[row : row + 1])["sorting"].sum
        for row in (0, 2)
    ]
    assert count == 2
    assert_close(total, alone[0] + alone[1])
    nothing = task(NARRATED, tiny_batch(valid=[0, 0, 0, 0]), pixels)["sorting"]
    assert nothing == (0, 0)
