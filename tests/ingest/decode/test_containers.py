"""What probing says of good files and of broken ones."""

from pathlib import Path

import pytest

from ingest.decode.containers import index_frames
from ingest.decode.request import MediaError
from ingest.decode.sound import SAMPLE_RATE, extract_sound
from pipeline.demo.broken import BREAKAGES
from tests.ingest.media_files import spoken, write_video

REASONS = {
    "truncated": "truncated",
    "zero_bytes": "empty",
    "sound_only": "no_video",
    "not_a_video": "not_media",
    "overstated_length": "wrong_length",
}


@pytest.mark.parametrize("broken", BREAKAGES)
def test_each_way_to_be_broken_has_its_own_word(tmp_path: Path, broken: str) -> None:
    BREAKAGES[broken](tmp_path / "v.mp4")
    with pytest.raises(MediaError) as caught:
        index_frames(tmp_path / "v.mp4")
    assert caught.value.reason == REASONS[broken]


def test_a_good_file_is_as_long_as_its_frames(tmp_path: Path) -> None:
    index = index_frames(write_video(tmp_path / "v.mp4", num_frames=40, rate=8))
    assert (len(index.pts), index.duration_s, index.has_sound) == (40, pytest.approx(5.0), False)
    assert index.times_s.tolist() == pytest.approx([number / 8 for number in range(40)])
    assert index.keys.nonzero()[0].tolist() == [0, 10, 20, 30]


def test_a_playlist_is_not_opened_whatever_it_names(tmp_path: Path) -> None:
    write_video(tmp_path / "secret.mp4")
    (tmp_path / "v.mp4").write_text("ffconcat version 1.0\nfile secret.mp4\n")
    with pytest.raises(MediaError) as caught:
        index_frames(tmp_path / "v.mp4")
    assert caught.value.reason == "not_media"


def test_sound_comes_out_at_its_own_time(tmp_path: Path) -> None:
    said = spoken("A red circle.", lead_s=1.0, gap_s=0.5)
    samples = extract_sound(write_video(tmp_path / "v.mp4", sound=said), deadline_s=30)
    assert abs(len(samples) - len(said)) < SAMPLE_RATE // 10
    first_loud = (abs(samples.astype(int)) > 1000).argmax() / SAMPLE_RATE
    assert 1.0 < first_loud < 1.3


def test_a_file_without_sound_says_so(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="undecodable"):
        extract_sound(write_video(tmp_path / "v.mp4"), deadline_s=30)
