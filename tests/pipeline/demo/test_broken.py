"""Each broken file is unfit in its own way."""

import av
import pytest
from av.error import InvalidDataError

from pipeline.demo.broken import BREAKAGES, not_a_video, overstated_length, sound_only, truncated, zero_bytes


def num_decodable(container):
    count = 0
    try:
        for _ in container.decode(video=0):
            count += 1
    except InvalidDataError:
        return count
    raise AssertionError("the file is whole")


@pytest.mark.parametrize("write", [truncated, zero_bytes, not_a_video])
def test_three_of_the_five_cannot_be_opened(tmp_path, write):
    write(tmp_path / "x.mp4")
    with pytest.raises(InvalidDataError):
        av.open(str(tmp_path / "x.mp4"))


def test_one_has_ten_seconds_of_sound_and_no_picture(tmp_path):
    sound_only(tmp_path / "x.mp4")
    with av.open(str(tmp_path / "x.mp4")) as container:
        assert [stream.type for stream in container.streams] == ["audio"]
        assert round(container.duration / av.time_base) == 10


def test_one_promises_480_frames_and_holds_a_tenth_of_them(tmp_path):
    overstated_length(tmp_path / "x.mp4")
    with av.open(str(tmp_path / "x.mp4")) as container:
        assert container.streams.video[0].frames == 480
        assert container.duration == 60 * av.time_base
        assert 0 < num_decodable(container) < 480 / 4


def test_there_are_five_ways():
    assert len(BREAKAGES) == 5
