"""A million input rows through ingest against a hundred thousand: the driver's memory, and the cost of a row.

    python -m tests.benchmarks.bench_ledger [--quick]

A list in WebVid's layout whose media are all missing: every row becomes a Reject, so what is measured is the graph, the
ledger and the driver. Each size runs in a process of its own on a Ray of its own, the small one before and after the
large one; then the large one once more, with everything in its ledger. The clock of a row starts with the first
committed shard.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from infra import session
from ingest.cluster.graph import ingest
from ingest.plan import StreamSummary
from ingest.settings import Ingest
from ingest.sources.webvid import WebVid

_MB = 2**20


@dataclass(frozen=True)
class Cost:
    """What one ingest took."""

    rows: int
    """Media of the stream, counted by the summary."""
    driver_mb: float
    """Highest resident memory of the driver."""
    before_s: float
    """Seconds to the first committed shard, or to the end where there is nothing to do; without Ray's start."""
    row_us: float
    """Microseconds a row, after the first shard."""


class Clock:
    """Time from the first committed shard to the last."""

    def __init__(self) -> None:
        self.begun = time.monotonic()
        self.first: Moment | None = None
        self.last: Moment | None = None

    def at(self, stands: StreamSummary) -> None:
        """Called after every committed shard."""
        if stands.shards_written and self.first is None:
            self.first = Moment.now(stands.num_media)
        if stands.shards_written + stands.shards_skipped == stands.shards_total:
            self.last = Moment.now(stands.num_media)

    def cost(self, rows: int) -> Cost:
        """After the run; without time a row where there was nothing to do."""
        driver_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / _MB
        if self.first is None or self.last is None:
            return Cost(rows, driver_mb, time.monotonic() - self.begun, 0.0)
        timed = (self.last.rows - self.first.rows) / 1e6
        return Cost(rows, driver_mb, self.first.at_s - self.begun, (self.last.at_s - self.first.at_s) / timed)


@dataclass(frozen=True)
class Moment:
    """When, and how many rows were done."""

    at_s: float
    rows: int

    @classmethod
    def now(cls, rows: int) -> "Moment":
        """This one."""
        return cls(time.monotonic(), rows)


def write_list(folder: Path, rows: int) -> None:
    """A results CSV of `rows` videos that are not there."""
    folder.mkdir(parents=True)
    with (folder / "results_train.csv").open("w") as file:
        file.write("videoid,contentUrl,duration,page_dir,name\n")
        for number in range(rows):
            file.write(f"{number},http://x,PT1S,{number // 1000:06},caption of number {number}\n")


def measured(folder: Path, store: Path) -> Cost:
    """One ingest, in this process."""
    session.start("local")
    clock = Clock()
    summary = ingest([WebVid(str(folder))], Ingest(), str(store), clock.at)
    return clock.cost(sum(stream.num_media for stream in summary.streams))


def in_a_process(folder: Path, store: Path, title: str) -> Cost:
    """The same in a process of its own."""
    command = [sys.executable, "-m", "tests.benchmarks.bench_ledger", "--one", str(folder), str(store)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    cost = Cost(**json.loads(done.stdout.splitlines()[-1]))
    print(
        f"{title:22} {cost.rows:9,} {cost.driver_mb:9.0f} {cost.before_s:8.1f} {cost.row_us:8.0f}",
        flush=True,
    )
    return cost


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="20,000 rows against 2,000")
    parser.add_argument("--one", nargs=2, type=Path, metavar=("RAW", "STORE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(asdict(measured(*arguments.one))))
        return
    sizes = (2_000, 20_000) if arguments.quick else (100_000, 1_000_000)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for rows in sizes:
            write_list(folder / str(rows), rows)
        print(f"{'':22} {'rows':>9} {'driver MB':>9} {'first s':>8} {'us a row':>8}")
        before = in_a_process(folder / str(sizes[0]), folder / "before", "small, before")
        large = in_a_process(folder / str(sizes[1]), folder / "large", "large")
        after = in_a_process(folder / str(sizes[0]), folder / "after", "small, after")
        again = in_a_process(folder / str(sizes[1]), folder / "large", "large, nothing to do")
    more_mb = max(large.driver_mb, again.driver_mb) - min(before.driver_mb, after.driver_mb)
    dearer = large.row_us / ((before.row_us + after.row_us) / 2)
    counted = (before.rows, large.rows, after.rows, again.rows) == (sizes[0], sizes[1], sizes[0], sizes[1])
    print(f"ledger_driver_memory_mb value={more_mb:.0f} target=<=200")
    print(f"ledger_cost_per_row ratio={dearer:.2f} target=<=1.20")
    print(f"ledger_counted value={int(counted)} target=1")
    sys.exit(0 if more_mb <= 200 and dearer <= 1.2 and counted else 1)


if __name__ == "__main__":
    main()
