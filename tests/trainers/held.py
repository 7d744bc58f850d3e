"""A stream that can be held back. Light to import: data workers do."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from ray.data import Dataset, TaskPoolStrategy

from ingest.cluster.stored import clip_stream


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


def held_stream(store: str, stream: str, hold: Held, **plan: Any) -> Dataset:
    """The stream, one block after the other; what waits does not keep the CPU that others need."""
    return clip_stream(store, stream, **plan).map_batches(
        hold, batch_size=None, batch_format="pyarrow", num_cpus=0.01, compute=TaskPoolStrategy(size=1)
    )
