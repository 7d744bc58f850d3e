import numpy as np
import pytest
import torch
from PIL import Image
from torch.testing import assert_close

from trainers.data.inputs import to_input
from trainers.data.pixels import centre, check_sides, cut, nearest_sources, resized_size, room
from trainers.recipe import CLIP_MEAN, CLIP_STD, Pixels

PLAIN = Pixels(2, 2, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))


def test_a_window_is_the_part_of_the_frame_at_its_corner() -> None:
    frame = np.arange(2 * 4 * 3, dtype=np.uint8).reshape(2, 4, 3)
    assert room(2, 4, PLAIN) == (0, 2)
    assert np.array_equal(cut(frame, (0, 2), PLAIN), frame[:, 2:4])
    out = to_input(torch.from_numpy(frame[:, 2:4])[None, None], 2, PLAIN)
    assert_close(out, torch.from_numpy(frame[:, 2:4]).permute(2, 0, 1)[None, None] / 255)


def test_grey_of_imagenets_mean_becomes_zero() -> None:
    mean = torch.tensor([0.485, 0.456, 0.406])
    windows = (mean * 255).round().to(torch.uint8).expand(1, 1, 4, 4, 3)
    assert to_input(windows, 4, Pixels(4, 4)).abs().max() < 0.01


def test_half_the_size_takes_every_second_pixel() -> None:
    assert nearest_sources(8, 4).tolist() == [1, 3, 5, 7]
    assert nearest_sources(4, 8).tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


def test_the_short_side_gets_its_length_and_halves_are_rounded_to_even() -> None:
    assert resized_size(480, 640, 268) == (268, 357)
    assert resized_size(640, 480, 268) == (357, 268)
    assert centre(room(268, 357, Pixels())) == (22, 66)  # 66.5
    assert centre(room(268, 359, Pixels())) == (22, 68)  # 67.5


def test_bicubic_windows_are_pillows_antialiased_ones_before_rounding() -> None:
    """Pillow resizes as CLIP's own preparation did."""
    config = Pixels(40, 40, "bicubic", CLIP_MEAN, CLIP_STD)
    window = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    pillow = np.asarray(Image.fromarray(window).resize((16, 16), Image.Resampling.BICUBIC))
    out = to_input(torch.from_numpy(window)[None, None], 16, config)[0, 0]
    levels = (out * torch.tensor(CLIP_STD)[:, None, None] + torch.tensor(CLIP_MEAN)[:, None, None]) * 255
    assert (
        levels - torch.tensor(pillow).permute(2, 0, 1)
    ).abs().max() < 1.01  # it rounds after each direction


def test_a_fine_pattern_turns_grey_with_bicubic_and_into_a_false_one_with_nearest() -> None:
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    plain = {"mean": PLAIN.mean, "std": PLAIN.std}
    smooth = to_input(torch.from_numpy(stripes)[None, None], 24, Pixels(64, 64, "bicubic", **plain))
    assert (smooth - 0.5).abs().max() < 0.15
    aliased = cut(stripes, (0, 0), Pixels(24, 24, **plain))
    assert set(np.unique(aliased)) == {0, 255}


def test_frames_that_the_recipe_cannot_use_are_refused_by_field() -> None:
    with pytest.raises(ValueError, match=r"pixels\.crop is 8, but the resized frames are 4 x 6"):
        room(4, 6, Pixels(4, 8))
    with pytest.raises(ValueError, match=r"pixels\.short_side is 32, but frames are stored with .* 16"):
        room(16, 20, Pixels(32, 16, "bicubic"))
    with pytest.raises(ValueError, match=r"pixels\.crop is 64, but the system's frames have 32 pixels"):
        check_sides(32, Pixels(64, 64))
    with pytest.raises(ValueError, match=r"pixels\.crop is 65, more than pixels\.short_side, 64"):
        check_sides(32, Pixels(64, 65, "bicubic"))
