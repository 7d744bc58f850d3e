"""Progress of long steps: a live bar on a terminal, a plain line now and then in a log."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.padding import Padding
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from pipeline.timecode import show_duration

LINE_EVERY_S = 10.0


class Report(Protocol):
    """Told how far a step is; called as often as its owner likes."""

    def __call__(
        self, done: float, total: float | None = None, note: str = "", parts: Sequence[Sequence[str]] = ()
    ) -> None:
        """`done` of `total` units; None: the total given at the start, or unknown.

        `parts`: lines of their own for what goes on at the same time, in columns; none: those given before.
        """


@contextmanager
def progress(
    title: str, unit: str, total: float | None = None, done: float = 0, console: Console | None = None
) -> Iterator[Report]:
    """Show the progress of a step while the block runs.

    `done` units that an earlier call finished count as done, not as speed.
    """
    console = console or Console(stderr=True)
    if console.is_terminal:
        with _Live(title, unit, total, done, console) as live:
            yield live
    else:
        lines = _Lines(title, unit, total, done, partial(console.print, soft_wrap=True, highlight=False))
        yield lines
        lines.finish()


def show_rate(per_s: float, unit: str) -> str:
    """ "2.5 clips/s", "6.0 clips/min", "2.0 clips/h", "0 clips/s"."""
    if not per_s:
        return f"0 {unit}/s"
    for seconds, name in ((1, "s"), (60, "min")):
        if per_s * seconds >= 1:
            return f"{per_s * seconds:.1f} {unit}/{name}"
    return f"{per_s * 3600:.1f} {unit}/h"


def describe(
    done: float, total: float | None, unit: str, first: float, elapsed_s: float, note: str = ""
) -> str:
    """ "3 of 12 shards, 1.5 shards/s, 6.0 s left"; rate and time left count from `first`, where it began."""
    parts = [f"{done:,.0f} of {total:,.0f} {unit}" if total is not None else f"{done:,.0f} {unit}"]
    rate = (done - first) / elapsed_s if elapsed_s > 0 else 0.0
    if rate > 0:
        parts.append(f"{rate:.1f} {unit}/s" if rate >= 1 else f"{show_duration(1 / rate)} each")
        if total is not None and total > done:
            parts.append(f"{show_duration((total - done) / rate)} left")
    return ", ".join([*parts, note] if note else parts)


class _Live:
    """A bar that redraws itself, and lines below it."""

    def __init__(self, title: str, unit: str, total: float | None, done: float, console: Console) -> None:
        self._unit, self._first, self._started = unit, done, time.monotonic()
        self._bar = Progress(
            SpinnerColumn(finished_text="[green]✓"),
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=28),
            TextColumn("{task.fields[text]}", markup=False),
            TimeElapsedColumn(),
            console=console,
        )
        text = describe(done, total, unit, done, 0.0)
        self._task: TaskID = self._bar.add_task(title, total=total, completed=int(done), text=text)
        self._parts: Sequence[Sequence[str]] = ()
        self._live = Live(console=console, get_renderable=self._shown)

    def __enter__(self) -> "_Live":
        self._live.start()
        return self

    def __exit__(self, *failure: object) -> None:
        task = self._bar.tasks[0]
        if failure[0] is None and task.total is None:
            self._bar.update(self._task, total=max(1, task.completed), completed=max(1, task.completed))
        self._live.stop()

    def __call__(
        self, done: float, total: float | None = None, note: str = "", parts: Sequence[Sequence[str]] = ()
    ) -> None:
        self._parts = parts or self._parts
        total = self._bar.tasks[0].total if total is None else total
        text = describe(done, total, self._unit, self._first, time.monotonic() - self._started, note)
        self._bar.update(self._task, completed=int(done), total=total, text=text)

    def _shown(self) -> Group:
        lines = Table.grid(padding=(0, 3))
        for part in self._parts:
            lines.add_row(*(Text(cell, no_wrap=True) for cell in part))
        return Group(self._bar, Padding(lines, (0, 0, 0, 2))) if self._parts else Group(self._bar)


@dataclass
class _Lines:
    """A line at most every `LINE_EVERY_S`, and one at the end."""

    title: str
    unit: str
    total: float | None
    done: float
    show: Callable[[str], None]
    clock: Callable[[], float] = time.monotonic
    note: str = ""
    parts: Sequence[Sequence[str]] = ()
    first: float = field(init=False)
    started: float = field(init=False)
    shown: float = field(init=False)

    def __post_init__(self) -> None:
        self.first = self.done
        self.started = self.shown = self.clock()

    def __call__(
        self, done: float, total: float | None = None, note: str = "", parts: Sequence[Sequence[str]] = ()
    ) -> None:
        self.done, self.note, self.parts = done, note, parts or self.parts
        self.total = self.total if total is None else total
        if self.clock() - self.shown >= LINE_EVERY_S:
            self.shown = self.clock()
            self._line("")

    def finish(self) -> None:
        """The last line, with how long it took."""
        self._line(f" (took {show_duration(self.clock() - self.started)})")

    def _line(self, end: str) -> None:
        elapsed_s = self.clock() - self.started
        text = describe(self.done, self.total, self.unit, self.first, elapsed_s, self.note)
        lines = "".join(f"; {part[0]}: {', '.join(filter(None, part[1:]))}" for part in self.parts)
        self.show(f"{self.title}: {text}{end or lines}")
