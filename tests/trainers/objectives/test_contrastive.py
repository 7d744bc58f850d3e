from dataclasses import replace
from math import log

import torch
from torch.testing import assert_close

from tests.trainers.small_models import small_batch, small_model, small_pixels
from trainers.objectives.contrastive import Contrastive, info_nce
from trainers.recipe import Stream
from trainers.task import Task

ALL = torch.ones(8, dtype=torch.bool)


def test_embeddings_that_say_nothing_cost_the_log_of_the_batch_in_each_direction() -> None:
    same = torch.ones(8, 4)
    assert_close(info_nce(same, same, 0.05, ALL, torch.arange(8)), torch.tensor(2 * log(8)))


def test_two_orthogonal_pairs_cost_twice_the_log_of_one_plus_e_to_the_minus_one() -> None:
    pairs = 3 * torch.eye(2)  # cosine 1 with its own, 0 with the other
    loss = info_nce(pairs, pairs, 1.0, ALL[:2], torch.arange(2))
    assert_close(loss, torch.tensor(2 * log(1 + 2.718281828**-1)))


def test_the_parts_of_two_halves_add_up_to_the_loss() -> None:
    video, text = torch.randn(8, 4), torch.randn(8, 4)
    whole = info_nce(video, text, 0.05, ALL, torch.arange(8))
    halves = [info_nce(video, text, 0.05, ALL, own) for own in torch.arange(8).chunk(2)]
    assert_close(halves[0] + halves[1], whole)


def test_rows_that_are_not_valid_change_neither_loss_nor_gradient() -> None:
    video, text = torch.randn(8, 4), torch.randn(8, 4)
    valid = torch.arange(8) < 5
    alone = _loss_and_gradient(video[:5], text[:5], ALL[:5])
    beside = _loss_and_gradient(video, text, valid)
    assert_close(beside[0], alone[0])
    assert_close(beside[1][:5], alone[1])
    assert not beside[1][5:].any()


def test_a_batch_without_a_valid_row_costs_nothing_and_moves_nothing() -> None:
    loss, gradient = _loss_and_gradient(
        torch.randn(3, 4), torch.randn(3, 4), torch.zeros(3, dtype=torch.bool)
    )
    assert loss == 0
    assert not gradient.any()


def test_an_embedding_of_length_zero_does_not_divide_by_zero() -> None:
    _, gradient = _loss_and_gradient(torch.zeros(2, 4), torch.ones(2, 4), ALL[:2])
    assert torch.isfinite(gradient).all()


def test_an_invalid_clip_does_not_change_the_other_clips_losses() -> None:
    task = Task(small_model(), 0.05, "published")
    stream = Stream("narrated", 4, "transcripts", {"contrastive": 1.0, "sorting": 1.0})
    batch, pixels = small_batch(), small_pixels()
    three = type(batch)(**{name: getattr(batch, name)[:3] for name in batch.__dataclass_fields__})
    expected = task(stream, three, pixels[:3])
    beside = task(stream, replace(batch, valid=torch.arange(4) < 3), pixels)
    for name in expected:
        assert_close(beside[name], expected[name])


def _loss_and_gradient(
    video: torch.Tensor, text: torch.Tensor, valid: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    video = video.clone().requires_grad_()
    loss = Contrastive(0.05, "published").over_ranks(video, text, valid)
    loss.backward()
    return loss.detach(), video.grad
