"""Torch's profiler over some steps: a trace for ui.perfetto.dev or chrome://tracing, and the dearest operations."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile, schedule

from infra.objects import join, read_bytes, write_bytes
from trainers.ranks import own_rank

FOLDER, TRACE_FILE, TABLE_FILE = "profile", "trace.json.gz", "top_operations.txt"
_WAIT, _WARM_UP = 3, 2  # steps: the first ones compile and allocate
_NAME_WIDTH = 56


@contextmanager
def profiled(num_steps: int, folder: str) -> Iterator[Callable[[], None]]:
    """Record `num_steps` steps of the first rank, after five, into profile/ below the run at the URI `folder`.

    Call what is given at the end of every step. With 0 steps, and on the other ranks, it does nothing.
    """
    if num_steps == 0 or own_rank() != 0:
        yield lambda: None
        return
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if torch.cuda.is_available() else [])]
    plan = schedule(wait=_WAIT, warmup=_WARM_UP, active=num_steps, repeat=1)
    with profile(
        activities=activities, schedule=plan, on_trace_ready=lambda done: _write(done, join(folder, FOLDER))
    ) as recorder:
        yield recorder.step


def _write(recorder: profile, folder: str) -> None:
    with tempfile.TemporaryDirectory() as place:
        path = Path(place, TRACE_FILE)
        recorder.export_chrome_trace(str(path))
        write_bytes(join(folder, TRACE_FILE), path.read_bytes())
    write_bytes(join(folder, TABLE_FILE), top_operations(recorder.key_averages()).encode())


def table_of(folder: str) -> str:
    """The table of the dearest operations that a run at the URI `folder` wrote. Raises MissingError."""
    return read_bytes(join(folder, FOLDER, TABLE_FILE)).decode()


def top_operations(averages: Sequence[Any], most: int = 10) -> str:
    """The operations with the most time of their own, on the GPU where there is one, as a table.

    `averages`: of `profile.key_averages()`.
    """
    averages = [event for event in averages if not event.key.startswith("ProfilerStep")]
    on_gpu = any(event.self_device_time_total for event in averages)
    times_us = [event.self_device_time_total if on_gpu else event.self_cpu_time_total for event in averages]
    whole_us = sum(times_us) or 1.0
    ranked = sorted(zip(times_us, averages, strict=True), key=lambda pair: -pair[0])[:most]
    title = f"own time on the {'GPU' if on_gpu else 'CPU'}"
    lines = [f"{'operation':{_NAME_WIDTH}} {'calls':>8} {title:>20} {'share':>7}"]
    for time_us, event in ranked:
        name = event.key if len(event.key) <= _NAME_WIDTH else event.key[: _NAME_WIDTH - 1] + "…"
        lines.append(
            f"{name:{_NAME_WIDTH}} {event.count:>8} {time_us / 1000:>17.2f} ms {time_us / whole_us:>7.1%}"
        )
    return "\n".join(lines) + "\n"
