import pytest
import torch
from torch.testing import assert_close

from trainers.pixels import centre_crop, nearest_sources, pixels, resized_size
from trainers.recipe import Pixels

PLAIN = Pixels(short_side=2, crop=2, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))


def test_each_clip_is_cut_at_its_own_place_in_all_frames() -> None:
    frames = torch.arange(2 * 3 * 2 * 4 * 3, dtype=torch.uint8).reshape(2, 3, 2, 4, 3)
    out = pixels(frames, torch.tensor([[0, 0], [0, 2]]), PLAIN)
    expected = torch.stack([frames[0, :, :, 0:2], frames[1, :, :, 2:4]]).permute(0, 1, 4, 2, 3) / 255
    assert_close(out, expected)


def test_grey_of_imagenets_mean_becomes_zero() -> None:
    mean = torch.tensor([0.485, 0.456, 0.406])
    frames = (mean * 255).round().to(torch.uint8).expand(1, 1, 4, 4, 3)
    assert pixels(frames, torch.zeros(1, 2, dtype=torch.int64), Pixels(4, 4)).abs().max() < 0.01


def test_half_the_size_takes_every_second_pixel() -> None:
    assert nearest_sources(8, 4) == (1, 3, 5, 7)
    assert nearest_sources(4, 8) == (0, 0, 1, 1, 2, 2, 3, 3)


def test_the_short_side_gets_its_length_and_halves_are_rounded_to_even() -> None:
    assert resized_size(480, 640, 268) == (268, 357)
    assert resized_size(640, 480, 268) == (357, 268)
    assert centre_crop(268, 357, 224) == (22, 66)  # 66.5
    assert centre_crop(268, 359, 224) == (22, 68)  # 67.5


def test_a_crop_larger_than_the_frames_is_refused() -> None:
    with pytest.raises(ValueError, match="crop is 8, but the resized frames are 4 x 6"):
        pixels(
            torch.zeros(1, 1, 4, 6, 3, dtype=torch.uint8), torch.zeros(1, 2, dtype=torch.int64), Pixels(4, 8)
        )
