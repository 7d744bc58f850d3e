"""The decoding process: answers one request after another until its input ends. Started by `isolation`."""

import os
import resource
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import av.logging

from infra.errors import UserError
from ingest.decode.containers import Film, open_film
from ingest.decode.frames import film_frames, window_frames, window_times
from ingest.decode.images import converted
from ingest.decode.request import FrameRequest, MediaError, pack, unpack

_GRACE_S = 10.0


@dataclass
class Child:
    """Answers requests; keeps the last file open, which is asked about several times in a row."""

    film: Film | None = None

    def answer(self, head: dict[str, Any]) -> tuple[dict[str, Any], list[bytes]]:
        """The answer to one request, a failure included."""
        try:
            match head.pop("op"):
                case "index":
                    return self._facts(head["path"]), []
                case "frames":
                    return self._frames(head.pop("path"), FrameRequest(**head))
                case "times":
                    return self._times(head.pop("path"), FrameRequest(**head))
                case "film":
                    return self._film(head["path"], head["count"])
                case "image":
                    return {}, [converted(Path(head.pop("path")), **head)]
                case unknown:
                    raise AssertionError(f"no operation {unknown!r}")
        except UserError as error:  # nobody's bad file: it would set every file aside
            return {"error": str(error)}, []
        except MediaError as error:
            return {"reason": error.reason, "detail": error.detail}, []
        except MemoryError as error:
            return {"reason": "memory", "detail": f"memory limit reached {error}".strip()}, []
        except Exception as error:
            return {"reason": "undecodable", "detail": f"{type(error).__name__}: {error}"[:500]}, []

    def _open(self, path: str) -> Film:
        if self.film is not None:
            self.film.close()
            self.film = None  # a failure must not leave the last file behind
        self.film = open_film(Path(path))
        return self.film

    def _opened(self, path: str) -> Film:
        return self.film if self.film is not None and str(self.film.path) == path else self._open(path)

    def _facts(self, path: str) -> dict[str, Any]:
        index = self._open(path).index  # anew: temporary files may use a name again
        return {
            "duration_s": index.duration_s,
            "has_sound": index.has_sound,
            "num_frames": len(index.pts),
            "codec": index.codec,
            "width": index.width,
            "height": index.height,
        }

    def _frames(self, path: str, request: FrameRequest) -> tuple[dict[str, Any], list[bytes]]:
        times, images = window_frames(self._opened(path), request)
        return {"times_s": times}, images

    def _times(self, path: str, request: FrameRequest) -> tuple[dict[str, Any], list[bytes]]:
        return {"times_s": window_times(self._opened(path), request)}, []

    def _film(self, path: str, count: int) -> tuple[dict[str, Any], list[bytes]]:
        frames = film_frames(self._open(path), count)
        return {"shape": frames.shape}, [frames.tobytes()]


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
            head, _ = unpack(lambda size: _exactly(sys.stdin.buffer, size))
        except EOFError:
            return
        # If the worker dies while a codec hangs, nobody else ends this process; the alarm needs no Python.
        signal.setitimer(signal.ITIMER_REAL, deadline_s + _GRACE_S)
        head, blobs = child.answer(head)
        signal.setitimer(signal.ITIMER_REAL, 0)
        answers.writelines(pack(head, blobs))
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
