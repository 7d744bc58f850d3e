"""How much more memory a piece of work takes at its peak, measured in a process of its own."""

import multiprocessing
import resource
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import torch


def peak_of(prepare: Callable[..., Callable[[], object]], *arguments: Any) -> int:
    """Bytes at the peak of `prepare(*arguments)()` beyond what there was before that call; what `prepare` makes is not
    counted. Of the second call: libraries take their buffers in the first. Where CUDA is used, the device's memory."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        return process.submit(_peak, prepare, arguments).result()


def _peak(prepare: Callable[..., Callable[[], object]], arguments: tuple[Any, ...]) -> int:
    work = prepare(*arguments)
    work()
    if torch.cuda.is_initialized():
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        work()
        return torch.cuda.max_memory_allocated() - before
    before = _resident()
    with _Watch() as watch:
        work()
    return watch.peak - before


class _Watch:
    """Resident memory read every millisecond: the kernel's own high-water mark cannot be set back everywhere."""

    peak = 0

    def __enter__(self) -> "_Watch":
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._stop.wait(0.001):
            self.peak = max(self.peak, _resident())

    def __exit__(self, *exception: object) -> None:
        self._stop.set()
        self._thread.join()
        self.peak = max(self.peak, _resident())


def _resident() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()
