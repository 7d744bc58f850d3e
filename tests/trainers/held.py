"""A stream that can be held back. Light to import: data workers do."""

import time
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from ray.data import Dataset, TaskPoolStrategy

from ingest.cluster.stored import StoredStream
from ingest.order.rows import Rows, UnitWork


@dataclass(frozen=True)
class Held:
    """Lets rows from a position on pass only once a file exists."""

    file: Path
    position: int

    def __call__(self, rows: pa.Table) -> pa.Table:
        """One block; waits."""
        while rows["position"][0].as_py() >= self.position and not self.file.exists():
            time.sleep(0.05)
        return rows


@dataclass(frozen=True)
class HeldStream:
    """A stream, one block after the other; what waits does not keep the CPU that others need."""

    clips: StoredStream
    hold: Held

    def __call__(self, rows: Rows, work: UnitWork) -> Dataset:
        """As the stream's own."""
        return self.clips(rows, work).map_batches(
            self.hold,
            batch_size=None,
            batch_format="pyarrow",
            num_cpus=0.01,
            compute=TaskPoolStrategy(size=1),
        )
