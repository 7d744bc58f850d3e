"""The decoding process: answers one request after another until its input ends. Started by `isolation`."""

import os
import resource
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import av.logging

from ingest.decode import wire
from ingest.decode.containers import FrameIndex, index_frames
from ingest.decode.failure import MediaError
from ingest.decode.frames import window_frames
from ingest.decode.images import converted_jpeg
from ingest.decode.request import FrameRequest

_GRACE_S = 10.0


@dataclass
class Child:
    """Answers requests; remembers the index of the last file, which is asked about several times in a row."""

    path: str = ""
    index: FrameIndex | None = None

    def answer(self, head: dict[str, Any]) -> tuple[dict[str, Any], list[bytes]]:
        """The answer to one request, a failure included."""
        try:
            match head.pop("op"):
                case "index":
                    return self._facts(head["path"]), []
                case "frames":
                    return self._frames(head.pop("path"), FrameRequest(**head))
                case "image":
                    path = Path(head["path"])
                    return {}, [converted_jpeg(path, head["short_side"], head["quality"], head["resize"])]
                case unknown:
                    raise AssertionError(f"no operation {unknown!r}")
        except MediaError as error:
            return {"reason": error.reason, "detail": error.detail}, []
        except MemoryError as error:
            return {"reason": "memory", "detail": f"memory limit reached {error}".strip()}, []
        except Exception as error:
            return {"reason": "undecodable", "detail": f"{type(error).__name__}: {error}"[:500]}, []

    def _index_of(self, path: str) -> FrameIndex:
        if self.index is None or self.path != path:
            self.index = None  # a failure must not leave the last file's index behind
            self.path, self.index = path, index_frames(Path(path))
        return self.index

    def _facts(self, path: str) -> dict[str, Any]:
        self.path = ""  # temporary files may use a name again
        index = self._index_of(path)
        return {
            "duration_s": index.duration_s,
            "has_sound": index.has_sound,
            "num_frames": len(index.pts),
            "codec": index.codec,
            "width": index.width,
            "height": index.height,
        }

    def _frames(self, path: str, request: FrameRequest) -> tuple[dict[str, Any], list[bytes]]:
        times, jpegs = window_frames(Path(path), self._index_of(path), request)
        return {"times_s": times}, jpegs


def main() -> None:
    """Serve standard input; arguments: seconds per request, memory limit in MiB."""
    deadline_s, memory_mb = float(sys.argv[1]), int(sys.argv[2])
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a codec prints must not reach the answers
    av.logging.set_level(av.logging.PANIC)
    _limit_memory(memory_mb)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    child = Child()
    while True:
        try:
            head, _ = wire.unpack(lambda size: _exactly(sys.stdin.buffer, size))
        except EOFError:
            return
        # If the worker dies while a codec hangs, nobody else ends this process; the alarm needs no Python.
        signal.setitimer(signal.ITIMER_REAL, deadline_s + _GRACE_S)
        head, blobs = child.answer(head)
        signal.setitimer(signal.ITIMER_REAL, 0)
        answers.write(wire.pack(head, blobs))
        answers.flush()


def _limit_memory(memory_mb: int) -> None:
    """Cap the address space at this much above what the libraries take; macOS has no such limit."""
    if sys.platform != "linux":
        return
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * os.sysconf("SC_PAGE_SIZE") + (memory_mb << 20)
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(
        resource.RLIMIT_AS, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard)
    )


def _exactly(file: BinaryIO, size: int) -> bytes:
    data = file.read(size)
    if len(data) != size:
        raise EOFError
    return data


if __name__ == "__main__":
    main()
