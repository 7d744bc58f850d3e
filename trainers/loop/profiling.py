"""Torch's profiler over some steps: a trace for ui.perfetto.dev or chrome://tracing, and the dearest operations."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

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
    on_gpu = torch.cuda.is_available()
    table = recorder.key_averages().table(
        sort_by=f"self_{'device' if on_gpu else 'cpu'}_time_total",
        row_limit=10,
        max_name_column_width=_NAME_WIDTH,
    )
    write_bytes(join(folder, TABLE_FILE), table.encode())


def table_of(folder: str) -> str:
    """The table of the dearest operations that a run at the URI `folder` wrote. Raises MissingError."""
    return read_bytes(join(folder, FOLDER, TABLE_FILE)).decode()
