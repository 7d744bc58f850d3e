"""The same frames at the same times from each decoder, on the kinds of video that the web holds."""

import importlib
import subprocess
from pathlib import Path
from types import ModuleType

import av
import imageio_ffmpeg
import numpy as np
import pytest

from ingest.decode import decord_reader, pyav_reader
from ingest.decode.containers import Film, open_film
from ingest.decode.request import MediaError
from tests.ingest.media_files import numbers_of, write_video

X264 = ("-c:v", "libx264", "-crf", "8")
KINDS = {
    "b-frames": (*X264, "-g", "12", "-bf", "3"),
    "b-pyramid": (*X264, "-g", "40", "-bf", "6", "-x264-params", "b-pyramid=normal:ref=5:b-adapt=0"),
    "open-gop": (*X264, "-g", "8", "-bf", "3", "-x264-params", "open-gop=1:scenecut=0"),
    "no-b-frames": (*X264, "-g", "10", "-bf", "0"),
    "10-bit": (*X264, "-pix_fmt", "yuv420p10le"),
    "grey": (*X264, "-pix_fmt", "gray"),
    "4:4:4": (*X264, "-pix_fmt", "yuv444p"),
    "odd-size": (*X264, "-pix_fmt", "yuv444p", "-vf", "scale=63:31"),
    "interlaced": (*X264, "-flags", "+ildct+ilme", "-x264-params", "tff=1:bframes=3"),
    "hevc": ("-c:v", "libx265", "-crf", "8", "-x265-params", "keyint=12:bframes=4:log-level=none"),
    "hevc-open-gop": (
        *("-c:v", "libx265", "-crf", "8"),
        *("-x265-params", "keyint=8:min-keyint=8:open-gop=1:bframes=3:log-level=none"),
    ),
    "vp9": ("-c:v", "libvpx-vp9", "-crf", "8", "-g", "12"),
    "av1": ("-c:v", "libsvtav1", "-crf", "8", "-g", "12"),
    "mpeg4": ("-c:v", "mpeg4", "-q:v", "1", "-bf", "2"),
    "variable-rate": (*X264, "-vf", "setpts=N*N/40/TB/8", "-fps_mode", "vfr"),
    "edit-list": (*X264, "-ss", "1.0", "-bf", "3"),
    "transport-stream": (*X264, "-g", "12", "-bf", "3", "-f", "mpegts"),
}
NOT_FOR_DECORD = {"av1", "open-gop", "hevc", "hevc-open-gop", "mpeg4", "transport-stream"}
WANTED = [0, 3, 4, 11, 13, 17, 26, 31]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("films") / "plain.mp4", size=(64, 64), key_every=40)


def converted(plain: Path, kind: str) -> Film:
    path = plain.parent / f"{kind.replace(':', '')}.{'ts' if kind == 'transport-stream' else 'mp4'}"
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", "-i", str(plain)]
    subprocess.run([*command, *KINDS[kind], str(path)], check=True, capture_output=True)
    return open_film(path)


def everything(film: Film) -> list[av.VideoFrame]:
    """Every frame, decoded in order from the start."""
    with av.open(str(film.path)) as container:
        return list(container.decode(video=0))


@pytest.mark.parametrize("kind", KINDS)
def test_each_decoder_gives_the_frames_that_were_asked_for(plain: Path, kind: str) -> None:
    film = converted(plain, kind)
    shown = numbers_of([frame.to_ndarray(format="rgb24") for frame in everything(film)])
    wanted = [number for number in WANTED if number < len(shown)]
    expected = [shown[number] for number in wanted]
    assert len(shown) == len(film.index.pts)
    frames = list(pyav_reader.read_frames(film, wanted))
    assert numbers_of(frames) == expected
    if kind in NOT_FOR_DECORD:
        with pytest.raises(MediaError) as refused:
            list(decord_reader.read_frames(film, wanted))
        assert refused.value.reason == "unsupported"
        return
    by_decord = list(decord_reader.read_frames(film, wanted))
    assert numbers_of(by_decord) == expected
    assert all(np.abs(a.astype(int) - b).max() <= 3 for a, b in zip(frames, by_decord, strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_torchcodec_gives_the_same_frames_or_refuses(plain: Path, kind: str) -> None:
    reader = torchcodec_or_skip()
    film = converted(plain, kind)
    wanted = [number for number in WANTED if number < len(film.index.pts)]
    if kind == "transport-stream":
        with pytest.raises(MediaError, match="times the frames otherwise"):
            list(reader.read_frames(film, wanted))
        return
    pairs = zip(reader.read_frames(film, wanted), pyav_reader.read_frames(film, wanted), strict=True)
    assert all(np.array_equal(theirs, ours) for theirs, ours in pairs)


def torchcodec_or_skip() -> ModuleType:
    """The reader, where the extra is installed and finds FFmpeg's libraries."""
    try:
        return importlib.import_module("ingest.decode.torchcodec_reader")
    except (ImportError, OSError, RuntimeError) as error:
        pytest.skip(f"torchcodec cannot be loaded: {str(error).splitlines()[0]}")


@pytest.mark.parametrize("kind", ["b-frames", "b-pyramid", "open-gop", "hevc", "hevc-open-gop"])
def test_frames_decoded_without_those_nobody_refers_to_are_bit_equal(plain: Path, kind: str) -> None:
    film = converted(plain, kind)
    assert film.index.progressive
    frames = [frame.to_ndarray(format="rgb24") for frame in everything(film)]
    for wanted in ([7], [2, 9, 10, 25], list(range(len(frames)))):
        sparse = pyav_reader.read_frames(film, wanted)
        assert all(np.array_equal(frame, frames[n]) for frame, n in zip(sparse, wanted, strict=True))


def test_a_turned_video_is_set_upright_by_each_decoder(plain: Path) -> None:
    flat = write_video(plain.parent / "wide.mp4", size=(64, 32))
    turned = plain.parent / "turned.mp4"
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", "-display_rotation", "90"]
    subprocess.run([*command, "-i", str(flat), "-c", "copy", str(turned)], check=True, capture_output=True)
    film = open_film(turned)
    (frame,) = pyav_reader.read_frames(film, [5])
    assert frame.shape == (64, 32, 3)
    assert next(decord_reader.read_frames(film, [5])).shape == (64, 32, 3)
