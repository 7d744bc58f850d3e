"""The decoding process: answers one request after another until its input ends. Started by `isolation`.

Frames of a window come encoded, those of a film as they are; the sampling, the choice of decoder and the resizing are
here.
"""

import os
import resource
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import av.logging
import numpy as np
from numpy.typing import NDArray

from infra.errors import UserError
from ingest.decode import decord_reader, pyav_reader
from ingest.decode.containers import Film, FrameIndex, open_film
from ingest.decode.images import converted, encode, resize_short_side
from ingest.decode.request import DecoderName, FrameRequest, MediaError, pack, unpack


def boundaries(num_frames: int, length: int) -> NDArray[np.int64]:
    """Borders of min(num_frames, length) even slices of `length` frames."""
    return np.linspace(0, length, min(num_frames, length) + 1).astype(np.int64)


def middle_indices(num_frames: int, length: int) -> NDArray[np.int64]:
    """The middle frame of each slice, as at test time; fewer than asked where the video has fewer."""
    borders = boundaries(num_frames, length)
    return (borders[:-1] + borders[1:] - 1) // 2


Frame = NDArray[np.uint8]
Kept = TypeVar("Kept")
_TIME_TOLERANCE_S = 1e-4


def window_frames(film: Film, request: FrameRequest) -> tuple[list[float], list[bytes]]:
    """Times in seconds and images of the middle frames of `count` even slices of the window, or of those it names.

    A window with fewer frames gives all it has. Raises MediaError: undecodable, unsupported, truncated.
    """
    index = film.index
    wanted = _shown_at(index, request.times_s) if request.times_s else _candidates(index, request)

    def stored(frame: Frame) -> bytes:
        small = resize_short_side(frame, request.short_side, request.resize)
        return encode(small, request.quality, request.encoding)

    return _times(index, wanted), _decode(film, wanted, request.decoder, stored)


def window_times(film: Film, request: FrameRequest) -> list[float]:
    """The times alone, without decoding. Raises MediaError: truncated."""
    return _times(film.index, _candidates(film.index, request))


def _candidates(index: FrameIndex, request: FrameRequest) -> list[int]:
    if request.start_s >= index.duration_s:
        raise MediaError("truncated", f"no frame after {request.start_s:.2f} s")
    first, stop = index.between(request.start_s, request.end_s)
    return [first + int(number) for number in middle_indices(request.count, stop - first)]


def _shown_at(index: FrameIndex, times_s: Sequence[float]) -> list[int]:
    """Numbers of the frames that begin at these times."""
    numbers = np.searchsorted(index.times_s, np.array(times_s) - _TIME_TOLERANCE_S)
    for number, time_s in zip(numbers, times_s, strict=True):
        if number == len(index.times_s) or index.times_s[number] > time_s + _TIME_TOLERANCE_S:
            raise MediaError(
                "truncated", f"no frame at {time_s:.3f} s: the file is not the one that was ingested"
            )
    return [int(number) for number in numbers]


def _times(index: FrameIndex, numbers: Sequence[int]) -> list[float]:
    return [float(index.times_s[number]) for number in numbers]


def film_frames(film: Film, count: int) -> NDArray[np.uint8]:
    """The middle frames of `count` even slices of the whole film, as RGB [t, h, w, 3] at their own size.

    A film with fewer frames gives all it has. Raises MediaError: undecodable; ValueError where their size changes.
    """
    wanted = [int(number) for number in middle_indices(count, len(film.index.pts))]
    return np.stack(_decode(film, wanted, "auto", np.asarray))


def _decode(
    film: Film, wanted: Sequence[int], decoder: DecoderName, keep: Callable[[Frame], Kept]
) -> list[Kept]:
    """What `keep` makes of each frame as it comes: only that is held."""
    try:
        return [keep(frame) for frame in _reader(decoder)(film, wanted)]
    except MediaError as error:
        if decoder != "auto":
            raise
        try:  # its older FFmpeg forgives what a newer one refuses
            return [keep(frame) for frame in decord_reader.read_frames(film, wanted)]
        except MediaError:
            raise error from None


def _reader(decoder: DecoderName) -> Callable[[Film, Sequence[int]], Iterator[Frame]]:
    """The decoder of that name. PyAV is the cheapest for every codec, key frame distance and number of frames
    measured (`tests/benchmarks/bench_decoders.py`), so it is what "auto" tries first."""
    if decoder == "decord":
        return decord_reader.read_frames
    if decoder == "torchcodec":
        try:
            with _libraries_uncounted():
                from ingest.decode import torchcodec_reader  # an extra, and seconds to import
        except (ImportError, OSError, RuntimeError) as error:
            raise UserError(
                f"frames.decoder: torchcodec cannot be loaded ({str(error).splitlines()[0][:200]}); install the extra "
                "`torchcodec` and FFmpeg's libraries on every node, or leave the choice to `auto`"
            ) from error
        return torchcodec_reader.read_frames
    return pyav_reader.read_frames


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
    _cap(_mapped_bytes() + (memory_mb << 20))


@contextmanager
def _libraries_uncounted() -> Iterator[None]:
    """What a library maps while it loads is no file's doing: the cap is as much higher afterwards."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    if soft == resource.RLIM_INFINITY:
        yield
        return
    before = _mapped_bytes()
    resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
    try:
        yield
    finally:
        _cap(soft + _mapped_bytes() - before)


def _mapped_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")


def _cap(limit: int) -> None:
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
