"""Which rows of an endless order are read, and what is done with them on the way."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from ingest.order.choice import Choice

Transform = Callable[[pa.Table], Any]
"""The rows of a unit -> a block of as many."""


@dataclass(frozen=True)
class Rows:
    """Rows [first, first + count) of the order that a seed decides, delivered in blocks of exactly `unit` rows."""

    seed: int
    first: int
    count: int
    unit: int

    def __post_init__(self) -> None:
        """ValueError for rows that are not whole units."""
        if self.count % self.unit:
            raise ValueError(f"{self.count} rows are not whole units of {self.unit}")


@dataclass(frozen=True)
class UnitWork:
    """What a unit of rows goes through before it is delivered, and how many Ray tasks do that at a time."""

    choice: Choice | None = None
    """Which of a clip's candidate frames are delivered; None: all."""
    prepare: Transform | None = None
    """What is made of the rows in the end."""
    tasks: int = 2
    task_cpus: float = 0.5
    """CPUs of each of them."""
