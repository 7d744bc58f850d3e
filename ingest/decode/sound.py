"""The sound of a file as 16 kHz mono samples, through the ffmpeg program in a process that can be killed."""

import functools
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import ffmpeg
import imageio_ffmpeg
import numpy as np
from numpy.typing import NDArray

from ingest.decode.request import MediaError

SAMPLE_RATE = 16_000
# As in `containers`, for the program: only real containers, only this file.
_INPUT = {
    "format_whitelist": "mov,mp4,m4a,matroska,webm,avi,mpegts,mpeg,flv,ogg,asf,3gp,mp3,wav,aac,flac",
    "protocol_whitelist": "file",
}
_MEMORY_BYTES = 2 << 30
_LONGEST_S = 4 * 3600


@functools.cache
def ffmpeg_program() -> str:
    """The ffmpeg on the PATH, else the one that the imageio-ffmpeg wheel carries."""
    return shutil.which("ffmpeg") or str(imageio_ffmpeg.get_ffmpeg_exe())


def extract_sound(path: Path, deadline_s: float) -> NDArray[np.int16]:
    """All sound of a file, mono, 16 kHz; sample 0 is second 0 of the medium. At most four hours.

    Raises MediaError: undecodable, timeout.
    """
    command = (
        ffmpeg.input(f"file:{path}", **_INPUT)
        # A track that starts late or has holes is filled with silence, so that sample numbers stay times.
        .output(
            "pipe:", format="s16le", ac=1, ar=SAMPLE_RATE, af="aresample=async=1:first_pts=0", t=_LONGEST_S
        )
        .global_args("-nostdin", "-loglevel", "error", "-threads", "1")
        .compile(cmd=ffmpeg_program())
    )
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        _limit_memory(process.pid)
        try:
            samples, said = process.communicate(timeout=deadline_s)
        except subprocess.TimeoutExpired as error:
            process.kill()
            raise MediaError("timeout", f"ffmpeg: no sound within {deadline_s:g} s") from error
    if process.returncode:
        lines = said.decode("utf-8", "replace").strip().splitlines()
        raise MediaError("undecodable", f"ffmpeg: {lines[-1][:300] if lines else process.returncode}")
    return np.frombuffer(samples[: len(samples) // 2 * 2], np.int16)


def _limit_memory(process: int) -> None:
    if sys.platform == "linux":
        resource.prlimit(process, resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
