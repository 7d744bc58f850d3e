"""Joining or starting Ray, and the one plan of CPUs for everything that runs in it."""

import logging
import math
import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray

from infra.errors import UserError

# Ray Train starts its controller in an environment of its own, and a worker process serves one environment
# only: with the same variables in the job's environment, idle workers are used again, not started anew.
_TRAIN_ENV = {
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
    "RAY_WARN_BLOCKING_GET_INSIDE_ASYNC": "0",
    # On a thread of its own, the end of a reading task is noticed a tenth of a second later, and the core waits.
    "RAY_DATA_METADATA_PREFETCH_ON_THREAD": "0",
}
_RAY_ENV = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    # More processes start at once than cores: a warning about it would stand in the middle of our own lines.
    "RAY_worker_maximum_startup_concurrency": "8",
    # Ray ends a process that was idle for a second where there are more than CPUs. Those of data tasks pause longer
    # now and then, and starting them anew took a tenth of a small machine's time.
    "RAY_idle_worker_killing_time_threshold_ms": "10000",
}
_SMALL_MEMORY = 16 * 2**30
_SMALL_STORE = 768 * 2**20
_CONNECT_TIMEOUT_S = 5.0
_TRIAL_DRIVER = 0.1  # CPUs that the process of one trial declares; its workers declare that much less

MAX_BLOCKS = 2_000
"""Blocks of plan of a dataset: more cost Ray more than they give."""


@dataclass(frozen=True)
class Session:
    """The Ray that this process has joined or started."""

    num_cpus: float
    """Logical CPUs of the cluster."""
    num_gpus: float
    num_nodes: int
    local: bool
    """Everything runs on this machine."""


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


def start(address: str | None = None) -> Session:
    """Join the Ray at `address` (else at RAY_ADDRESS), or start one on this machine.

    A Ray already joined by this process is kept. UserError for an address at which no Ray answers.
    """
    if not ray.is_initialized():
        _connect(address or os.environ.get("RAY_ADDRESS") or "local")
    quiet_data()
    resources = ray.cluster_resources()
    nodes = sum(bool(node["Alive"]) for node in ray.nodes())
    return Session(resources.get("CPU", 0.0), resources.get("GPU", 0.0), nodes, nodes == 1)


def stop() -> None:
    """Leave Ray; one that `start` started ends with all its processes."""
    ray.shutdown()


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


def most_trials(session: Session, workers: int, gpu: float = 1.0) -> int:
    """Trials of a search, each with this many training workers, that fit beside one another with a CPU each for their
    readers; 1 where not even one does, which `plan_cpus` then says."""
    fit = math.floor(session.num_cpus / (_TRIAL_DRIVER + (1.0 - _TRIAL_DRIVER) * workers + 1) + 1e-9)
    if session.num_gpus:
        fit = min(fit, math.floor(session.num_gpus / (workers * gpu) + 1e-9))
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


def _connect(address: str) -> None:
    for name, value in (_TRAIN_ENV | _RAY_ENV).items():
        os.environ.setdefault(name, value)
    local = address == "local"
    if not local:
        check_address(address)
    options: dict[str, Any] = _local_options() if local else {"address": address}
    try:
        ray.init(
            **options,
            runtime_env={"env_vars": _worker_env(local)},
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except Exception as error:
        what = "a local Ray could not be started" if local else f"no Ray could be joined at {address}"
        raise UserError(f"{what}: {_first_line(error)}") from error


def _worker_env(local: bool) -> dict[str, str]:
    if local:  # nobody takes this machine away with a notice, and the watcher would be one process more
        os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")
    names = [*_TRAIN_ENV, "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER"]
    return {name: os.environ[name] for name in names if name in os.environ}


def _local_options() -> dict[str, Any]:
    """On fewer than 4 cores 4 logical CPUs are declared: with 2 a search hangs (its readers find none)."""
    options: dict[str, Any] = {
        "address": "local",
        "num_cpus": max(4, machine_cores()),
        "include_dashboard": False,
    }
    if machine_memory() <= _SMALL_MEMORY:
        options["object_store_memory"] = _SMALL_STORE
    return options


def machine_memory() -> int:
    """Bytes of memory of this machine, a container's limit included."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = Path("/sys/fs/cgroup/memory.max")
    if limit.exists() and (text := limit.read_text().strip()) != "max":
        memory = min(memory, int(text))
    return memory


def check_address(address: str) -> None:
    """Ray itself tries a wrong address for minutes; a connection shows at once whether anything answers."""
    if address == "auto":
        return
    if address.startswith("ray://"):
        raise UserError(
            f"{address}: Ray Client is not supported; use `ray job submit`, or give the head's host:port"
        )
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise UserError(f"Ray address {address!r} is not host:port, e.g. 10.0.0.1:6379")
    try:
        socket.create_connection((host, int(port)), _CONNECT_TIMEOUT_S).close()
    except OSError as error:
        raise UserError(
            f"no Ray answers at {address} ({error.strerror or error}); check RAY_ADDRESS or --ray.address"
        ) from error


def quiet_data() -> None:
    """Our own progress lines say more than Ray's operator bars; an error comes once, as the exception it raises."""
    from ray.data import DataContext

    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    for library in ("ray.data", "ray.train", "ray.tune"):
        logging.getLogger(library).setLevel(logging.CRITICAL)


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
