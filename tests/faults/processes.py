"""Processes of this machine as Linux lists them: who started whom, and what they are called."""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Running:
    """One process; `name` is its command line, for a Ray worker what it works on."""

    pid: int
    parent: int
    name: str


def below(pid: int) -> list[Running]:
    """Every process that `pid` or one of its own started, and that still has its parent."""
    everyone = _everyone()
    found, parents = [], {pid}
    while parents:
        children = [process for process in everyone if process.parent in parents]
        found += children
        parents = {child.pid for child in children}
    return found


def kill(pids: list[int]) -> int:
    """SIGKILL; how many were there to be killed. Returns when they are gone."""
    killed = [pid for pid in pids if _killed(pid)]
    until = time.monotonic() + 10.0
    while any(_alive(pid) for pid in killed) and time.monotonic() < until:
        time.sleep(0.01)
    return len(killed)


def _killed(pid: int) -> bool:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def _alive(pid: int) -> bool:
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def _everyone() -> list[Running]:
    found = (_read(place) for place in Path("/proc").iterdir() if place.name.isdigit())
    return [process for process in found if process is not None]


def _read(place: Path) -> Running | None:
    try:
        fields = (place / "stat").read_text().rpartition(")")[2].split()
        name = (place / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace").strip()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None
    return Running(int(place.name), int(fields[1]), name)
