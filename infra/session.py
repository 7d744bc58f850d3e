"""Joining or starting Ray."""

import logging
import os
import socket
from dataclasses import dataclass
from typing import Any

import ray

from infra.cpus import machine_cores, machine_memory
from infra.errors import UserError

# What Train's controller and the readers of data go by. A process of another environment than the job's is started
# anew beside idle ones, and one of any environment at all is started twice: first what sets it up, then itself. So a
# Ray on this machine gets them from its first process on, and has no environments.
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
SESSION_ENV = (*_TRAIN_ENV, "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER")
"""Variables that every process of a session is started with."""
_SMALL_MEMORY = 16 * 2**30
_SMALL_STORE = 768 * 2**20
_CONNECT_TIMEOUT_S = 5.0


@dataclass(frozen=True)
class Session:
    """The Ray that this process has joined or started."""

    num_cpus: float
    """Logical CPUs of the cluster."""
    num_gpus: float
    num_nodes: int
    local: bool
    """Everything runs on this machine."""


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


def _connect(address: str) -> None:
    for name, value in (_TRAIN_ENV | _RAY_ENV).items():
        os.environ.setdefault(name, value)
    local = address == "local"
    if not local:
        check_address(address)
    else:  # nobody takes this machine away with a notice, and the watcher would be one process more
        os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")
    options: dict[str, Any] = _local_options() if local else _joining(address)
    try:
        ray.init(
            **options,
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except Exception as error:
        what = "a local Ray could not be started" if local else f"no Ray could be joined at {address}"
        raise UserError(f"{what}: {_first_line(error)}") from error


def _joining(address: str) -> dict[str, Any]:
    """The processes of a Ray that runs already know nothing of this one's variables."""
    own = {name: os.environ[name] for name in SESSION_ENV if name in os.environ}
    return {"address": address, "runtime_env": {"env_vars": own}}


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
    context.raise_original_map_exception = True
    for library in ("ray.data", "ray.train", "ray.tune"):
        logging.getLogger(library).setLevel(logging.CRITICAL)


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
