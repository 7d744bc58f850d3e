"""How the loop is run: what may change without changing what is computed."""

import re
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Launch:
    """How the loop is run; does not change what it computes."""

    workers: int | str = 1
    """Training workers; the units of every global batch must divide by their number. A range, e.g. 4:16, takes of the
    numbers that divide the largest for which the cluster has room beside the readers, also when nodes come or go."""
    parallel: Literal["ddp", "fsdp"] = "ddp"
    """What every worker holds: "ddp" the whole model, "fsdp" its share of every block (FSDP2), with checkpoints in as
    many parts as workers."""
    use_gpu: bool | None = None
    """Whether workers train on GPUs; None: where the cluster has them."""
    threads: int = 0
    """CPU threads per worker; 0 divides the machine's cores by the workers on it."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Compute precision of the towers; losses and norms stay in fp32."""
    compile: bool = False
    """Compile the blocks of towers and head with torch.compile; the first steps then take minutes."""
    checkpoint_activations: bool = False
    """Keep only the input of each block for the backward pass and compute the block again there: less memory for a
    third more computing."""
    parts: int = 1
    """Parts in which every worker takes its share of a batch, one after another, for less memory. Objectives that
    compare clips still see the whole global batch: features are computed twice, once without a graph
    (arXiv:2101.06983)."""
    checkpoint_every: int = 100
    """Steps between checkpoints."""
    keep_checkpoints: int = 2
    """Newest checkpoints kept; or, where the recipe says what is best, the best and the newest."""
    max_failures: int = 3
    """Restarts from the last checkpoint before a run is given up."""
    log_every: int = 10
    """Steps between logged metrics."""
    max_skipped: int = 10
    """Steps in a row, of one stream or of all, that may be skipped because a loss or gradient is not finite; after so
    many the run stops. Counted whenever metrics are logged."""
    trace_batches: bool = False
    """Write which clips every step used to trace/*.parquet below the run (`trainers.loop.trace`)."""
    profile: int = 0
    """Steps to record with torch's profiler, after the first five; 0: none. A Chrome trace and a table of the ten
    dearest operations are written to profile/ below the run."""

    def __post_init__(self) -> None:
        """ValueError for a `workers` that is no number and no range."""
        if not 1 <= self.fewest_workers <= self.most_workers:
            raise ValueError(f"launch.workers: {self.workers!r} is neither a number nor a range such as 4:16")

    def on_gpu(self, num_gpus: float) -> bool:
        """Whether a cluster with so many GPUs trains on them."""
        return num_gpus > 0 if self.use_gpu is None else self.use_gpu

    @property
    def fewest_workers(self) -> int:
        """The lower end of `workers`."""
        return _ends(self.workers)[0]

    @property
    def most_workers(self) -> int:
        """The upper end of `workers`."""
        return _ends(self.workers)[1]


def _ends(workers: int | str) -> tuple[int, int]:
    """(0, 0) for what is no range."""
    found = re.fullmatch(r"(\d+)(?::(\d+))?", str(workers))
    return (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
