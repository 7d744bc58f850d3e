"""Frames of one file for whoever embeds it: which, how large, and what is said of a file that is none."""

import signal
from pathlib import Path

import numpy as np
import pytest

from infra.errors import UserError
from infra.objects import upload_folder
from ingest.decode.films import _LIMITS, read_frames
from ingest.decode.isolation import decoder
from tests.conftest import S3Server
from tests.ingest.media_files import numbers_of, write_video


def test_the_middle_frames_of_even_slices_come_as_they_are(tmp_path: Path) -> None:
    path = write_video(tmp_path / "film.mp4", num_frames=40)
    frames = read_frames(str(path), 4)
    assert frames.shape == (4, 32, 64, 3)
    assert frames.dtype == np.uint8
    assert numbers_of(list(frames)) == [4, 14, 24, 34]  # floor((10 i + 10 i + 9) / 2)


def test_a_short_film_gives_all_it_has(tmp_path: Path) -> None:
    path = write_video(tmp_path / "film.mp4", num_frames=3)
    assert numbers_of(list(read_frames(str(path), 12))) == [0, 1, 2]


def test_a_film_in_a_bucket_is_read_as_one_on_disk(tmp_path: Path, s3_server: S3Server) -> None:
    write_video(tmp_path / "film.mp4")
    upload_folder(tmp_path, s3_server.uri("films"))
    there = read_frames(s3_server.uri("films", "film.mp4"), 4)
    np.testing.assert_array_equal(there, read_frames(str(tmp_path / "film.mp4"), 4))


def test_what_is_no_film_is_named_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "poem.mp4").write_text("not a film")
    with pytest.raises(UserError, match=r"poem\.mp4: cannot be read as a video, not_media"):
        read_frames(str(tmp_path / "poem.mp4"), 4)
    with pytest.raises(UserError, match=r"gone\.mp4: there is no such file"):
        read_frames(str(tmp_path / "gone.mp4"), 4)


def test_a_decoder_that_dies_over_a_film_is_started_again(tmp_path: Path) -> None:
    path = write_video(tmp_path / "film.mp4")
    read_frames(str(path), 4)
    process = decoder(_LIMITS)._process
    assert process is not None
    process.send_signal(signal.SIGKILL)  # as a codec that crashes
    assert len(read_frames(str(path), 4)) == 4
