"""A file that crashes, hangs or swallows memory costs itself and nothing else."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from infra.errors import UserError
from ingest.decode import isolation
from ingest.decode.isolation import Decoder, Limits
from ingest.decode.request import FrameRequest, MediaError
from tests.ingest.media_files import numbers_of, write_video

REQUEST = FrameRequest(0.0, 99.0, count=4, short_side=32, quality=95, decoder="auto")


@pytest.fixture
def decoder() -> Iterator[Decoder]:
    made = Decoder(Limits(deadline_s=20.0, memory_mb=2048))
    yield made
    made.close()


def test_one_child_serves_many_files(decoder: Decoder, tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.mp4")
    assert decoder.index(path).duration_s == pytest.approx(5.0)
    child = _pid(decoder)
    times, frames = decoder.frames(path, REQUEST)
    assert (numbers_of(frames), len(times)) == ([4, 14, 24, 34], 4)
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    with pytest.raises(MediaError, match="not_media"):
        decoder.index(tmp_path / "bad.mp4")
    assert decoder.index(path).num_frames == 40
    assert _pid(decoder) == child


def test_a_child_that_was_killed_is_replaced_and_the_file_tried_again(
    decoder: Decoder, tmp_path: Path
) -> None:
    path = write_video(tmp_path / "v.mp4")
    decoder.index(path)
    os.kill(_pid(decoder), signal.SIGKILL)
    assert decoder.index(path).num_frames == 40


def test_a_child_that_hangs_is_ended_at_the_deadline(tmp_path: Path) -> None:
    decoder = Decoder(Limits(deadline_s=0.5, memory_mb=2048))
    path = write_video(tmp_path / "v.mp4")
    decoder.index(path)
    hanging = _pid(decoder)
    os.kill(hanging, signal.SIGSTOP)  # as a codec that never returns
    with pytest.raises(MediaError, match="timeout"):
        decoder.index(path)
    with pytest.raises(ProcessLookupError):
        os.kill(hanging, 0)
    assert decoder.index(path).num_frames == 40
    decoder.close()


def test_a_file_that_crashes_every_child_is_named_crashed(
    decoder: Decoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    crash = [sys.executable, "-c", "import os, sys; sys.stdin.read(1); os.abort()"]
    monkeypatch.setattr(
        isolation,
        "_start",
        lambda limits: subprocess.Popen(crash, stdin=subprocess.PIPE, stdout=subprocess.PIPE),
    )
    with pytest.raises(MediaError, match="crashed"):
        decoder.index(Path("any"))


def test_the_memory_limit_stops_a_picture_that_needs_more(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((7000, 7000), np.uint8)).save(
        tmp_path / "big.png"
    )  # 147 MB as RGB, a few kB here
    decoder = Decoder(Limits(deadline_s=20.0, memory_mb=64))
    with pytest.raises(MediaError) as caught:
        decoder.image(tmp_path / "big.png", 16, 95)
    assert caught.value.reason == "memory"
    decoder.close()


def test_the_child_ends_with_its_worker(tmp_path: Path) -> None:
    decoder = Decoder(Limits(deadline_s=20.0, memory_mb=2048))
    decoder.index(write_video(tmp_path / "v.mp4"))
    process = decoder._process
    assert process is not None
    assert process.stdin is not None
    process.stdin.close()  # what the system does when the worker dies
    assert process.wait(timeout=10) == 0
    decoder.close()


def _pid(decoder: Decoder) -> int:
    assert decoder._process is not None
    return decoder._process.pid


def test_a_decoder_that_is_not_installed_is_an_error_of_the_run_and_no_bad_file(
    decoder: Decoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "torchcodec").mkdir()
    (tmp_path / "torchcodec" / "__init__.py").write_text("raise ImportError('no FFmpeg here')")
    monkeypatch.syspath_prepend(str(tmp_path))
    asked = replace(REQUEST, decoder="torchcodec")
    with pytest.raises(UserError, match=r"torchcodec cannot be loaded \(no FFmpeg here\); install the extra"):
        decoder.frames(write_video(tmp_path / "v.mp4"), asked)
