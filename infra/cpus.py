"""What a machine has, and the one plan of CPUs for everything that runs on a cluster."""

import math
import os
from dataclasses import dataclass
from pathlib import Path

from infra.errors import UserError

_TRIAL_DRIVER = 0.1  # CPUs that the process of one trial declares; its workers declare that much less


@dataclass(frozen=True)
class CpuPlan:
    """Logical CPUs that each part declares to Ray; together they leave one CPU or more to the readers."""

    driver: float
    """The process that drives one trial of a search; 0 outside a search."""
    worker: float
    """One training worker."""
    reader: float
    """One reading or decoding task, or one embedding actor."""
    readers: int
    """Such actors that fit at a time."""
    threads: int
    """Threads of one training worker's tensor operations."""
    gpu: float = 1.0
    """GPU, or share of one, of one training worker where it trains on GPUs."""
    validation: float = 0.0
    """What scores checkpoints while training goes on."""

    def readers_of(self, num_streams: int) -> int:
        """Of the readers, those that each of so many streams may have."""
        return max(1, self.readers // num_streams)


def plan_cpus(
    total: float,
    workers: int = 0,
    streams: int = 1,
    *,
    search: bool = False,
    validation: float = 0.0,
    cores: int | None = None,
) -> CpuPlan:
    """Divide `total` logical CPUs; UserError where nothing would be left to read data and all would hang.

    `streams`: datasets read at the same time; `search`: each trial has a driver that declares a share;
    `validation`: CPUs of what scores checkpoints meanwhile;
    `cores`: physical cores of a machine (default: this one's), which the workers' threads share.
    """
    driver = _TRIAL_DRIVER if search else 0.0
    worker = 1.0 - driver
    free = round(total - driver - validation - workers * worker, 9)  # 2 - 0.1 - 0.9 is not quite 1
    if free < 1:
        beside = f" and {validation:g} for validation" if validation else ""
        raise UserError(
            f"{workers} training workers leave no CPU to read data: they need {workers + 1} CPUs or more{beside} "
            f"and there are {total:g}; lower launch.workers"
        )
    # Ray Data gives each stream its part of what is free, and a task whose share exceeds that part's remainder
    # waits until nothing else of its stream runs: with whole CPUs on a small machine one task at a time.
    scarce = free - 1 < 2 * streams
    readers = max(1, math.floor(free - 1))
    threads = max(1, (cores or machine_cores()) // max(1, workers))
    return CpuPlan(driver, worker, 0.25 if scarce else 1.0, readers, threads, validation=validation)


def most_workers(total: float, plan: CpuPlan) -> int:
    """Training workers that `total` logical CPUs can hold beside the one that is left to the readers."""
    return max(0, math.floor((total - plan.driver - plan.validation - 1) / plan.worker))


def most_trials(num_cpus: float, num_gpus: float, workers: int, gpu: float = 1.0) -> int:
    """Trials of a search, each with this many training workers, that fit beside one another with a CPU each for their
    readers; 1 where not even one does, which `plan_cpus` then says."""
    fit = math.floor(num_cpus / (_TRIAL_DRIVER + (1.0 - _TRIAL_DRIVER) * workers + 1) + 1e-9)
    if num_gpus:
        fit = min(fit, math.floor(num_gpus / (workers * gpu) + 1e-9))
    return max(1, fit)


def machine_cores() -> int:
    """Cores that this process may use, a container's quota included."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = Path("/sys/fs/cgroup/cpu.max")
    if quota.exists():
        limit, period = quota.read_text().split()[:2]
        if limit != "max":
            allowed = min(allowed, max(1, int(limit) // int(period)))
    return allowed


def machine_memory() -> int:
    """Bytes of memory of this machine, a container's limit included."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = Path("/sys/fs/cgroup/memory.max")
    if limit.exists() and (text := limit.read_text().strip()) != "max":
        memory = min(memory, int(text))
    return memory
