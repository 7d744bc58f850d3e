"""Ingest killed (SIGKILL to its process group) at random moments and run again: the store of an undisturbed run.

    python -m tests.faults.fault_kill [--quick]

Each kill has a store of its own. The moments, drawn from a seed: before Ray is up, after a drawn number of objects were
stored, and after the last ledger line. The second run is to its end, and then every byte is compared.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from infra import session
from ingest.cluster.graph import ingest
from tests.faults.ingests import Archives, contents, times_found, write_archives

LIMIT_S = 300.0


@dataclass(frozen=True)
class Moment:
    """When to kill: `delay_s` after `objects` are stored and `lines` are committed."""

    when: str
    objects: int
    lines: int
    delay_s: float


@dataclass(frozen=True)
class Killed:
    """One driver killed, and the store after the second run."""

    alive: bool
    """Whether there still was a driver to kill."""
    objects: int
    """Stored when it was killed."""
    lines: int
    """Committed when it was killed."""
    skipped: int
    """Shards that the second run had not to do again."""
    same: bool
    doubled: int


def moments(count: int, num_objects: int, num_lines: int, seed: int = 0) -> Iterator[Moment]:
    """A fifth before Ray is up, a fifth around the end, the others between."""
    draw = random.Random(seed)
    for number in range(count):
        match number % 5:
            case 0:
                yield Moment("at the start", 0, 0, draw.uniform(0.0, 8.0))
            case 4:
                yield Moment("at the end", 0, num_lines, draw.uniform(0.0, 2.0))
            case _:
                yield Moment("in between", draw.randint(1, num_objects - 1), 0, draw.uniform(0.0, 0.3))


def killed_once(archives: Archives, store: Path, moment: Moment, whole: dict[str, bytes]) -> Killed:
    """Start an ingest, kill it at that moment, run it again here (a Ray must have been joined), and compare."""
    command = [sys.executable, "-m", "tests.faults.ingests", archives.raw, str(store), archives.model]
    driver = subprocess.Popen(
        command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _wait_for(store, moment, driver)
    alive = driver.poll() is None
    stored, lines = _stored(store), _committed(store)
    os.killpg(driver.pid, signal.SIGKILL) if alive else None
    driver.wait()
    summary = ingest(archives.sources, archives.settings, str(store))
    found = times_found(str(store))
    return Killed(
        alive=alive,
        objects=stored,
        lines=lines,
        skipped=sum(stream.shards_skipped for stream in summary.streams),
        same=contents(str(store)) == whole,
        doubled=sum(times > 1 for times in found.values()),
    )


def _wait_for(store: Path, moment: Moment, driver: "subprocess.Popen[bytes]") -> None:
    until = time.monotonic() + LIMIT_S
    while _stored(store) < moment.objects or _committed(store) < moment.lines:
        if driver.poll() is not None:
            return
        assert time.monotonic() < until, "the moment did not come"
        time.sleep(0.01)
    time.sleep(moment.delay_s)


def _stored(store: Path) -> int:
    return sum(not path.name.startswith(".") for path in store.glob("*/*/*"))


def _committed(store: Path) -> int:
    return len(list(store.glob("*/ledger/*.json")))


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="2 kills")
    count = 2 if parser.parse_args().quick else 20
    session.start("local")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        archives = write_archives(folder)
        undisturbed = folder / "undisturbed"
        ingest(archives.sources, archives.settings, str(undisturbed))
        whole, uids = contents(str(undisturbed)), times_found(str(undisturbed))
        assert set(uids.values()) == {1}, "each uid once"
        print(f"{len(whole)} objects, {archives.num_shards} ledger lines among them")
        print(
            f"{'killed':14} {'alive':>5} {'objects':>8} {'committed':>10} {'skipped':>8} {'same':>5} {'doubled':>8}"
        )
        found = []
        for number, moment in enumerate(moments(count, len(whole), archives.num_shards)):
            killed = killed_once(archives, folder / f"killed-{number}", moment, whole)
            found.append(killed)
            print(
                f"{moment.when:14} {killed.alive!s:>5} {killed.objects:8} {killed.lines:10} {killed.skipped:8} "
                f"{killed.same!s:>5} {killed.doubled:8}",
                flush=True,
            )
    session.stop()
    same, doubled = sum(killed.same for killed in found), sum(killed.doubled for killed in found)
    print(f"fault_kill_same_store value={same} target={count}")
    print(f"fault_kill_doubled value={doubled} target=<=0")
    sys.exit(0 if same == count and doubled == 0 else 1)


if __name__ == "__main__":
    main()
