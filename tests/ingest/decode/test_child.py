"""Frames: the same times and pixels from each decoder, in the sizes of the specification."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ingest.decode import decord_reader, pyav_reader
from ingest.decode.child import window_frames
from ingest.decode.containers import open_film
from ingest.decode.images import resize_short_side, target_size
from ingest.decode.request import FrameRequest, MediaError
from tests.ingest.media_files import numbers_of, write_video

ALL = FrameRequest(0.0, 99.0, count=10, short_side=32, quality=95, decoder="auto")


@pytest.mark.parametrize(("suffix", "codec"), [("mp4", "libx264"), ("webm", "libvpx-vp9")])
def test_decord_and_pyav_give_the_frames_that_were_asked_for(tmp_path: Path, suffix: str, codec: str) -> None:
    film = open_film(write_video(tmp_path / f"v.{suffix}", codec=codec))
    wanted = [0, 1, 13, 14, 30, 39]
    by_decord = list(decord_reader.read_frames(film, wanted))
    by_pyav = list(pyav_reader.read_frames(film, wanted))
    assert numbers_of(by_decord) == numbers_of(by_pyav) == wanted
    assert all(np.array_equal(a, b) for a, b in zip(by_decord, by_pyav, strict=True))


def test_seeking_over_a_long_gap_lands_on_the_frame(tmp_path: Path) -> None:
    film = open_film(write_video(tmp_path / "v.mp4", num_frames=40, key_every=5))
    assert numbers_of(list(pyav_reader.read_frames(film, [38]))) == [38]


def test_ten_of_forty_frames_are_the_middles_of_ten_slices(tmp_path: Path) -> None:
    film = open_film(write_video(tmp_path / "v.mp4", num_frames=40, rate=8))
    for decoder in ("auto", "decord", "pyav"):
        request = FrameRequest(0.0, 99.0, count=10, short_side=32, quality=95, decoder=decoder)
        times, frames = window_frames(film, request)
        assert numbers_of(tuple(frames)) == list(range(1, 40, 4))
        assert times == pytest.approx([number / 8 for number in range(1, 40, 4)])


def test_a_window_holds_only_its_own_frames(tmp_path: Path) -> None:
    film = open_film(write_video(tmp_path / "v.mp4", num_frames=40, rate=8))
    times, frames = window_frames(film, FrameRequest(1.0, 2.0, 24, 32, 95, "auto"))
    assert numbers_of(tuple(frames)) == list(range(8, 16))  # fewer than asked: all there are
    assert times[0] == pytest.approx(1.0)
    assert numbers_of(tuple(window_frames(film, FrameRequest(1.05, 1.1, 24, 32, 95, "auto"))[1])) == [8]
    with pytest.raises(MediaError, match="no frame after"):
        window_frames(film, FrameRequest(50.0, 60.0, 24, 32, 95, "auto"))


def test_av1_goes_to_pyav_since_decord_cannot_read_it(tmp_path: Path) -> None:
    film = open_film(write_video(tmp_path / "v.mp4", codec="libsvtav1", size=(64, 64)))
    with pytest.raises(MediaError, match="unsupported"):
        next(decord_reader.read_frames(film, [0]))
    assert numbers_of(tuple(window_frames(film, ALL)[1])) == list(range(1, 40, 4))


@pytest.mark.parametrize(
    ("height", "width", "short", "new"), [(20, 30, 19, (19, 28)), (33, 18, 19, (34, 19))]
)
def test_the_long_side_is_cut_to_an_integer(
    height: int, width: int, short: int, new: tuple[int, int]
) -> None:
    assert target_size(height, width, short) == new
    frame = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    expected = Image.fromarray(frame).resize(new[::-1], Image.Resampling.NEAREST)
    assert np.array_equal(resize_short_side(frame, short), np.asarray(expected))


def test_fine_stripes_turn_grey_with_bicubic_and_into_false_ones_with_nearest() -> None:
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    assert set(np.unique(resize_short_side(stripes, 24))) == {0, 255}
    assert np.ptp(resize_short_side(stripes, 24, "bicubic").astype(int)) < 80


def test_a_frame_of_the_right_size_is_not_touched() -> None:
    frame = np.zeros((19, 40, 3), np.uint8)
    assert resize_short_side(frame, 19) is frame
