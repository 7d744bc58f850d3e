"""Something said again and again, while something else goes on."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def each_second(tell: Callable[[], None]) -> Iterator[None]:
    """`tell` is called once a second by a thread of its own, until the block ends; then no call is under way."""
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(1.0):
            tell()

    watcher = threading.Thread(target=watch, name="progress", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()
