"""The objects in which trials say what they began and what they found: a search that is killed goes on from them."""

import dataclasses
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from infra.objects import exists, join, list_files, read_bytes, write_bytes
from tune.results import Trial
from tune.settings import Setting


@dataclass(frozen=True)
class Started:
    """A trial that has begun, and its tracked run."""

    setting: Setting
    seed: int
    run_id: str

    @property
    def name(self) -> str:
        """The trial's."""
        return self.setting.name(self.seed)


@dataclass(frozen=True)
class TrialJournal:
    """The objects below a search's folder. Each is written once it is true, and whole."""

    folder: str

    def start(self, started: Started) -> None:
        """The trial has begun."""
        _write(self._uri("started", started.name), dataclasses.asdict(started))

    def finish(self, trial: Trial) -> None:
        """The trial has its scores."""
        _write(self._uri("trials", trial.setting.name(trial.seed)), dataclasses.asdict(trial))

    def started(self) -> list[Started]:
        """All that have begun, by name; the finished ones included."""
        found = [_read(uri) for uri in list_files(join(self.folder, "started"))]
        return [Started(**{**one, "setting": Setting(**one["setting"])}) for one in found]

    def finished(self) -> list[Trial]:
        """All that have scores, by name."""
        return [Trial.from_json(_read(uri)) for uri in list_files(join(self.folder, "trials"))]

    def has(self, setting: Setting, seed: int) -> bool:
        """Whether this trial has its scores."""
        return exists(self._uri("trials", setting.name(seed)))

    def scores_at(
        self, step: int, setting: Setting, seed: int, score: Callable[[], Mapping[str, float]]
    ) -> dict[str, float]:
        """The scores of a trial after so many steps: as they were written, else `score`'s."""
        return self.kept(join(f"scores-{step}", setting.name(seed)), score)

    def others_at(self, step: int, setting: Setting, seed: int, metric: str) -> list[float]:
        """A metric of all other trials that came so far."""
        own = self._uri(f"scores-{step}", setting.name(seed))
        uris = list_files(join(self.folder, f"scores-{step}"))
        return [_read(uri)[metric] for uri in uris if not uri.endswith(own.rpartition("/")[2])]

    def kept(self, name: str, make: Callable[[], Mapping[str, float]]) -> dict[str, float]:
        """What an object holds; what is not there yet is made."""
        uri = join(self.folder, f"{name}.json")
        if not exists(uri):
            _write(uri, dict(make()))
        return _read(uri)

    def _uri(self, kind: str, name: str) -> str:
        return join(self.folder, kind, f"{name}.json")


def _write(uri: str, value: Mapping[str, Any]) -> None:
    write_bytes(uri, json.dumps(value, indent=1).encode())


def _read(uri: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(read_bytes(uri))
    return found
