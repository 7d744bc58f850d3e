import pytest
import torch

from tests.trainers.tiny import tiny_batch, tiny_model, tiny_pixels
from trainers.models.starts import start_temporal_attention
from trainers.systems.tvtsv2.probes import share_of_change, temporal_share


def test_a_change_as_large_as_what_was_there_is_half_and_nothing_but_the_change_is_all() -> None:
    plain = torch.tensor([3.0, 4.0])
    assert share_of_change(2 * plain, plain) == 0.5
    assert share_of_change(plain, 0 * plain) == 1
    assert share_of_change(plain, plain) == 0
    assert share_of_change(0 * plain, 0 * plain) == 0


def test_attention_over_time_has_no_share_until_it_says_what_the_spatial_attention_can_hear() -> None:
    tower, pixels, keep = tiny_model().video, tiny_pixels(), tiny_batch().inputs.keep
    start_temporal_attention(tower, "from_spatial")
    before = tower(pixels, keep).pooled
    assert temporal_share(tower, pixels, keep) == 0
    assert torch.equal(tower(pixels, keep).pooled, before)  # looking changed nothing
    with torch.no_grad():
        for block in tower.blocks:
            block.timeattn.proj.bias.fill_(5.0)  # the direction that the LayerNorm behind removes
    assert temporal_share(tower, pixels, keep).item() == pytest.approx(0, abs=1e-5)
    with torch.no_grad():
        for block in tower.blocks:
            block.timeattn.proj.weight.normal_()
    assert 0.1 < temporal_share(tower, pixels, keep).item() < 0.9
