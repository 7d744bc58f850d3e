from math import log

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from tests.trainers.objectives.dense import dense
from tests.trainers.tiny import NARRATED, tiny_batch, tiny_pixels, tiny_task
from trainers.loop.parts import means_of
from trainers.objectives import contrastive
from trainers.objectives.contrastive import info_nce

ALL = torch.ones(8, dtype=torch.bool)


@pytest.fixture
def blocks_of_five(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contrastive, "BLOCK", 5)


def test_embeddings_that_say_nothing_cost_the_log_of_the_batch_in_each_direction() -> None:
    same = torch.ones(8, 4)
    assert_close(info_nce(same, same, 0.05, ALL), torch.tensor(2 * log(8)))


def test_two_orthogonal_pairs_cost_twice_the_log_of_one_plus_e_to_the_minus_one() -> None:
    pairs = 3 * torch.eye(2)  # cosine 1 with its own, 0 with the other
    assert_close(info_nce(pairs, pairs, 1.0, ALL[:2]), torch.tensor(2 * log(1 + 2.718281828**-1)))


@pytest.mark.usefixtures("blocks_of_five")
@settings(max_examples=60)
@given(
    size=st.integers(1, 17),
    width=st.integers(1, 9),
    temperature=st.sampled_from([0.01, 0.05, 1.0]),
    data=st.data(),
)
def test_blocks_of_any_fit_give_the_loss_and_the_gradients_of_the_dense_form(
    size: int, width: int, temperature: float, data: st.DataObject
) -> None:
    valid = torch.tensor(data.draw(st.lists(st.booleans(), min_size=size, max_size=size)))
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 2**32)))
    video, text = torch.randn(2, size, width, generator=generator, dtype=torch.float64)
    assert_close(
        _loss_and_gradients(info_nce, video, text, temperature, valid),
        _loss_and_gradients(dense, video, text, temperature, valid),
        rtol=1e-9,
        atol=1e-9,
    )


def test_in_single_precision_blocks_and_the_dense_form_differ_by_less_than_a_millionth(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(contrastive, "BLOCK", 64)
    (video, text), valid = torch.randn(2, 301, 64), torch.arange(301) % 7 != 3
    assert_close(
        _loss_and_gradients(info_nce, video, text, 0.05, valid),
        _loss_and_gradients(dense, video, text, 0.05, valid),
        rtol=1e-6,
        atol=1e-6,
    )


@pytest.mark.usefixtures("blocks_of_five")
def test_the_gradient_is_that_of_the_loss() -> None:
    video, text = torch.randn(2, 7, 3, dtype=torch.float64)
    valid = torch.arange(7) != 2
    torch.autograd.gradcheck(
        lambda *features: info_nce(*features, 0.3, valid), (video.requires_grad_(), text.requires_grad_())
    )


def test_rows_that_are_not_valid_change_neither_loss_nor_gradient() -> None:
    video, text = torch.randn(8, 4), torch.randn(8, 4)
    valid = torch.arange(8) < 5
    alone = _loss_and_gradients(info_nce, video[:5], text[:5], 0.05, ALL[:5])
    beside = _loss_and_gradients(info_nce, video, text, 0.05, valid)
    assert_close(beside[0], alone[0])
    assert_close(beside[1][:5], alone[1])
    assert not beside[1][5:].any()


def test_a_batch_without_a_valid_row_costs_nothing_and_moves_nothing() -> None:
    nothing = torch.zeros(3, dtype=torch.bool)
    loss, *gradients = _loss_and_gradients(info_nce, torch.randn(3, 4), torch.randn(3, 4), 0.05, nothing)
    assert loss == 0
    assert not any(gradient.any() for gradient in gradients)


def test_an_embedding_of_length_zero_does_not_divide_by_zero() -> None:
    _, *gradients = _loss_and_gradients(info_nce, torch.zeros(2, 4), torch.ones(2, 4), 0.05, ALL[:2])
    assert all(torch.isfinite(gradient).all() for gradient in gradients)


def test_an_invalid_clip_does_not_change_the_other_clips_losses() -> None:
    task, pixels = tiny_task(), tiny_pixels()
    expected = means_of(task(NARRATED, tiny_batch().rows(slice(3)), pixels[:3]))
    beside = means_of(task(NARRATED, tiny_batch(valid=[1, 1, 1, 0]), pixels))
    for name in expected:
        assert_close(beside[name], expected[name])


def _loss_and_gradients(
    function: object, video: Tensor, text: Tensor, temperature: float, valid: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    video, text = video.clone().requires_grad_(), text.clone().requires_grad_()
    loss = function(video, text, temperature, valid)
    loss.backward()
    return loss.detach(), video.grad, text.grad
