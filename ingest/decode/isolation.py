"""Native decoding in a child process that can be killed: a crash, a hang or a bomb costs the one file.

The child lives on from file to file, so a healthy file pays two short messages and no start.
"""

import contextlib
import functools
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from infra.errors import UserError
from ingest.decode.request import REASONS, Encoding, FrameRequest, MediaError, Resize, pack, unpack

_MAX_REQUESTS = 5_000  # then a fresh child: what codecs leak does not add up
_PIPE_BYTES = 1 << 20  # raw frames are large: fewer turns between the two processes
_START_S = 60.0  # more for the first answer: the libraries load


@dataclass(frozen=True)
class Limits:
    """What one request may cost."""

    deadline_s: float
    memory_mb: int


@dataclass(frozen=True)
class Facts:
    """What a readable video file is."""

    duration_s: float
    has_sound: bool
    num_frames: int
    codec: str
    width: int
    height: int


@dataclass
class Decoder:
    """A decoding process and the way to it; started when first asked."""

    limits: Limits
    _process: "subprocess.Popen[bytes] | None" = None
    _served: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def index(self, path: Path) -> Facts:
        """What the file holds, by its packets. Raises MediaError."""
        head, _ = self._ask({"op": "index", "path": str(path)})
        return Facts(**head)

    def frames(self, path: Path, request: FrameRequest) -> tuple[tuple[float, ...], tuple[bytes, ...]]:
        """Times in seconds and images of a window's frames. Raises MediaError."""
        head, blobs = self._ask({"op": "frames", "path": str(path), **asdict(request)})
        return tuple(head["times_s"]), tuple(blobs)

    def times(self, path: Path, request: FrameRequest) -> tuple[float, ...]:
        """The times of a window's frames, of which none is decoded. Raises MediaError."""
        head, _ = self._ask({"op": "times", "path": str(path), **asdict(request)})
        return tuple(head["times_s"])

    def film(self, path: Path, count: int) -> NDArray[np.uint8]:
        """The middle frames of `count` even slices of the whole file, RGB [t, h, w, 3]. Raises MediaError."""
        head, blobs = self._ask({"op": "film", "path": str(path), "count": count})
        return np.frombuffer(blobs[0], np.uint8).reshape(head["shape"]).copy()

    def image(
        self,
        path: Path,
        short_side: int,
        quality: int,
        resize: Resize = "nearest",
        encoding: Encoding = "jpeg",
    ) -> bytes:
        """A still image at its stored size. Raises MediaError."""
        asked = {"short_side": short_side, "quality": quality, "resize": resize, "encoding": encoding}
        _, blobs = self._ask({"op": "image", "path": str(path), **asked})
        return blobs[0]

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                with contextlib.suppress(OSError):  # an unsent request cannot be sent any more
                    assert pipe is not None
                    pipe.close()
            self._process = None

    def _ask(self, head: Mapping[str, Any]) -> tuple[dict[str, Any], list[bytes]]:
        with self._lock:
            try:
                answer, blobs = self._once(head)
            except EOFError:  # a second try in a fresh process: the first may have died of what came before
                try:
                    answer, blobs = self._once(head)
                except EOFError as error:
                    raise MediaError("crashed", str(error)) from error
        if "error" in answer:
            raise UserError(answer["error"])
        if "reason" in answer:
            assert answer["reason"] in REASONS, answer
            raise MediaError(answer["reason"], answer["detail"])
        return answer, blobs

    def _once(self, head: Mapping[str, Any]) -> tuple[dict[str, Any], list[bytes]]:
        """One request to the process; EOFError if it dies over it."""
        allowance = self.limits.deadline_s + (0 if self._served else _START_S)
        process = self._running()
        assert process.stdin is not None
        deadline = time.monotonic() + allowance
        try:
            process.stdin.writelines(pack(head))
            process.stdin.flush()
            answer = unpack(lambda size: _read(process, size, deadline))
        except (EOFError, BrokenPipeError) as error:
            self.close()
            raise EOFError(f"the decoding process ended with code {process.returncode}") from error
        except TimeoutError as error:
            self.close()
            self._served = 0
            raise MediaError("timeout", f"no answer within {self.limits.deadline_s:g} s") from error
        self._served += 1
        return answer

    def _running(self) -> "subprocess.Popen[bytes]":
        if self._served >= _MAX_REQUESTS:
            self.close()
        if self._process is None:
            self._process = _start(self.limits)
            self._served = 0
        return self._process


def _start(limits: Limits) -> "subprocess.Popen[bytes]":
    """A child with our import path, since a shipped tree need not be in its environment."""
    path = os.pathsep.join(entry for entry in sys.path if entry)
    return subprocess.Popen(
        [sys.executable, "-m", "ingest.decode.child", str(limits.deadline_s), str(limits.memory_mb)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # codecs write there at every damaged frame
        pipesize=_PIPE_BYTES,
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
    )


def _read(process: "subprocess.Popen[bytes]", size: int, deadline: float) -> bytearray:
    """Exactly `size` bytes of the answer before the deadline."""
    assert process.stdout is not None
    descriptor, data = process.stdout.fileno(), bytearray(size)
    left = memoryview(data)
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    while left:
        remaining = deadline - time.monotonic()
        if remaining <= 0 or not poller.poll(remaining * 1000):
            raise TimeoutError
        got = os.readv(descriptor, [left])
        if not got:
            raise EOFError
        left = left[got:]
    return data


def decoder(limits: Limits) -> Decoder:
    """The decoder of this process (one per set of limits)."""
    return _decoder_of(os.getpid(), limits)


@functools.cache
def _decoder_of(process: int, limits: Limits) -> Decoder:
    return Decoder(limits)
