"""Runs, parameters and metrics in MLflow: a sqlite file with the output, or MLFLOW_TRACKING_URI's server."""

import logging
import math
import os
import queue
import re
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from infra.errors import UserError
from infra.objects import local_path

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run as MlflowRun

Status = Literal["FINISHED", "FAILED", "KILLED"]

_KEY_TAG = "reelscript.run"
_PARENT_TAG = "mlflow.parentRunId"
_MAX_PARAM = 6000  # MLflow refuses longer values
_MAX_BATCH = 1000  # metrics MLflow takes in one call
_FLUSH_EVERY_S = 2.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Tracking:
    """Where runs are kept. Picklable: processes open their own connection."""

    uri: str
    """MLflow's tracking URI."""
    experiment: str = "reelscript"
    artifacts: str | None = None
    """Folder of artifacts; None: the server's own."""

    @property
    def on_this_machine(self) -> bool:
        """Kept in a file that other machines cannot write to."""
        return self.uri.startswith("sqlite:")

    def start_run(
        self,
        name: str,
        parent_run_id: str | None = None,
        params: Mapping[str, object] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> "TrackedRun":
        """The run of this name (below that parent), new or, after a restart, the same again.

        UserError if the server cannot be reached.
        """
        with _reached(self.uri):
            return _start(self.uri, self._experiment_id(), name, parent_run_id, params or {}, tags or {})

    def _experiment_id(self) -> str:
        from mlflow.exceptions import MlflowException

        client = _client(self.uri)
        found = client.get_experiment_by_name(self.experiment)
        if found is None:
            try:
                return str(client.create_experiment(self.experiment, artifact_location=self.artifacts))
            except MlflowException:  # another process was quicker
                found = client.get_experiment_by_name(self.experiment)
                assert found is not None
        return str(found.experiment_id)


@dataclass(frozen=True)
class TrackedRun:
    """A handle on one run; picklable, usable from any process that reaches the tracking URI."""

    uri: str
    run_id: str

    def start_child(
        self, name: str, params: Mapping[str, object] | None = None, tags: Mapping[str, str] | None = None
    ) -> "TrackedRun":
        """The run of this name below this one, new or, after a restart, the same again."""
        with _reached(self.uri):
            experiment = str(self._client().get_run(self.run_id).info.experiment_id)
            return _start(self.uri, experiment, name, self.run_id, params or {}, tags or {})

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Record metrics of one step at once (for the many of a loop, see `stream`)."""
        with _reached(self.uri):
            self._send([(step, _now_ms(), dict(metrics))])

    @contextmanager
    def stream(self) -> Iterator["MetricStream"]:
        """A buffer that a thread of its own sends every two seconds: a training step waits for nothing."""
        stream = MetricStream(self)
        try:
            yield stream
        finally:
            stream.close()

    def log_params(self, params: Mapping[str, object]) -> None:
        """Record parameters; one that was recorded before keeps its first value, as MLflow demands."""
        with _reached(self.uri):
            self._log_new_params(self._client().get_run(self.run_id).data.params, params)

    def log_artifact(self, path: str | Path, folder: str | None = None) -> None:
        """Keep a local file with the run."""
        with _reached(self.uri):
            self._client().log_artifact(self.run_id, str(path), folder)

    def history(self, metric: str) -> list[tuple[int, float]]:
        """(step, value) in order of steps; of a step that a restart repeated, the last value."""
        with _reached(self.uri):
            found = self._client().get_metric_history(self.run_id, metric)
        last = {entry.step: entry.value for entry in sorted(found, key=lambda entry: entry.timestamp)}
        return sorted(last.items())

    def metrics(self) -> dict[str, float]:
        """The last value of every metric."""
        with _reached(self.uri):
            return dict(self._client().get_run(self.run_id).data.metrics)

    def finish(self, status: Status = "FINISHED") -> None:
        """Close the run; starting it again by its name opens it anew."""
        with _reached(self.uri):
            self._client().set_terminated(self.run_id, status)

    def _client(self) -> "MlflowClient":
        return _client(self.uri)

    def _log_new_params(self, known: Mapping[str, str], params: Mapping[str, object]) -> None:
        from mlflow.entities import Param

        new = [Param(name, str(value)[:_MAX_PARAM]) for name, value in params.items() if name not in known]
        for first in range(0, len(new), 100):
            self._client().log_batch(self.run_id, params=new[first : first + 100])

    def _send(self, entries: Sequence[tuple[int, int, Mapping[str, float]]]) -> None:
        from mlflow.entities import Metric

        metrics = [
            Metric(name, float(value), time_ms, step)
            for step, time_ms, values in entries
            for name, value in values.items()
            if not math.isnan(value)
        ]
        for first in range(0, len(metrics), _MAX_BATCH):
            self._client().log_batch(self.run_id, metrics=metrics[first : first + _MAX_BATCH])


class MetricStream:
    """Metrics on their way to a run. A tracker that fails delays them and never stops the training."""

    def __init__(self, run: TrackedRun) -> None:
        self._run = run
        self._queue: queue.SimpleQueue[tuple[int, int, Mapping[str, float]]] = queue.SimpleQueue()
        self._wanted = threading.Event()  # set: send now, do not wait for the two seconds to pass
        self._closing = False
        self._tried = threading.Condition()
        self._rounds = 0
        self._warned = False
        # A daemon: at a hard stop of the process nothing waits for a slow server.
        self._thread = threading.Thread(target=self._work, name="metrics", daemon=True)
        self._thread.start()

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Take metrics of one step; returns at once."""
        self._queue.put((step, _now_ms(), dict(metrics)))

    def flush(self) -> None:
        """Send what was taken so far and wait for it, so that a checkpoint's metrics are as safe as itself."""
        with self._tried:
            wanted = self._rounds + 2  # a round that has begun may have missed the last entries
            self._wanted.set()
            while self._rounds < wanted and self._thread.is_alive():
                self._tried.wait(0.1)
                self._wanted.set()

    def close(self) -> None:
        """Send what is left and wait for it."""
        self._closing = True
        self._wanted.set()
        self._thread.join()

    def _work(self) -> None:
        waiting: list[tuple[int, int, Mapping[str, float]]] = []
        while True:
            self._wanted.wait(_FLUSH_EVERY_S)
            self._wanted.clear()
            closing = self._closing
            while not self._queue.empty():
                waiting.append(self._queue.get())
            if waiting and self._delivered(waiting):
                waiting = []
            with self._tried:
                self._rounds += 1
                self._tried.notify_all()
            if closing:
                if waiting:
                    _log.warning("%s: %d metrics were lost", _without_password(self._run.uri), len(waiting))
                return

    def _delivered(self, waiting: Sequence[tuple[int, int, Mapping[str, float]]]) -> bool:
        try:
            self._run._send(waiting)
        except Exception as error:  # whatever the tracker does wrong, the training goes on
            if not self._warned:
                _log.warning("metrics wait, %s fails: %s", _without_password(self._run.uri), _reason(error))
            self._warned = True
            return False
        return True


def tracking_for(output: str, experiment: str = "reelscript") -> Tracking:
    """MLFLOW_TRACKING_URI, else a sqlite file in the output folder (in ./outputs where that is remote)."""
    configured = os.environ.get("MLFLOW_TRACKING_URI")
    if configured:
        return Tracking(configured, experiment)
    folder = local_path(output) or Path("outputs").absolute()
    folder.mkdir(parents=True, exist_ok=True)
    return Tracking(f"sqlite:///{folder}/mlflow.db", experiment, artifacts=str(folder / "mlflow_artifacts"))


def _start(
    uri: str,
    experiment: str,
    name: str,
    parent: str | None,
    params: Mapping[str, object],
    tags: Mapping[str, str],
) -> TrackedRun:
    found = _find(uri, experiment, name, parent)
    if found is None:
        own = {_KEY_TAG: _key(name)} | ({_PARENT_TAG: parent} if parent else {})
        found = _client(uri).create_run(experiment, tags={**tags, **own}, run_name=name)
    elif found.info.status != "RUNNING":
        _client(uri).update_run(found.info.run_id, status="RUNNING")
    run = TrackedRun(uri, str(found.info.run_id))
    run._log_new_params(found.data.params, params)
    return run


def _find(uri: str, experiment: str, name: str, parent: str | None) -> "MlflowRun | None":
    query = f"tags.`{_KEY_TAG}` = '{_key(name)}'" + (
        f" and tags.`{_PARENT_TAG}` = '{parent}'" if parent else ""
    )
    found = _client(uri).search_runs([experiment], query)
    return next((run for run in found if run.data.tags.get(_PARENT_TAG) == parent), None)


def _key(name: str) -> str:
    return name.replace("'", "")  # the query language has no way to quote a quote


@cache
def _client(uri: str) -> "MlflowClient":
    """One client per process; MLflow is imported late: it takes a second that most processes never need."""
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    for noisy in ("alembic", "mlflow.store.db.utils", "mlflow.tracking"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=uri)


@contextmanager
def _reached(uri: str) -> Iterator[None]:
    import requests
    from mlflow.exceptions import MlflowException

    try:
        yield
    except (MlflowException, requests.RequestException, OSError) as error:
        raise UserError(
            f"MLflow at {_without_password(uri)} failed ({_reason(error)}); check MLFLOW_TRACKING_URI"
        ) from error


def _without_password(text: str) -> str:
    return re.sub(r"://[^/@\s]*@", "://", text)


def _reason(error: BaseException) -> str:
    if "Max retries exceeded" in str(error):
        return "it cannot be reached"
    lines = str(error).strip().splitlines()
    return _without_password(lines[0] if lines else type(error).__name__)[:200]


def _now_ms() -> int:
    return int(time.time() * 1000)


def flat(params: Mapping[str, Any], prefix: str = "") -> dict[str, object]:
    """Nested mappings as one level with dotted names, for parameters; lists of mappings count by index."""
    found: dict[str, object] = {}
    for name, value in params.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{name}.")
        elif isinstance(value, (list, tuple)) and any(isinstance(item, Mapping) for item in value):
            found |= flat({str(index): item for index, item in enumerate(value)}, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = value
    return found
