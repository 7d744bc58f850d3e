"""Which steps of a run are done, and with which inputs: one small object per step under the run's output."""

import dataclasses
import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from infra.objects import exists, join, read_bytes, write_bytes


def fingerprint(*parts: object) -> str:
    """A hash of everything that a step's result depends on (dataclasses, mappings, plain values)."""
    text = json.dumps([_values(part) for part in parts], sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


def _values(part: object) -> object:
    return dataclasses.asdict(part) if dataclasses.is_dataclass(part) and not isinstance(part, type) else part


@dataclass(frozen=True)
class Done:
    """A finished step: what it gave, how long it took, and whether that was in an earlier call."""

    name: str
    result: Mapping[str, Any]
    seconds: float
    earlier: bool


@dataclass(frozen=True)
class Journal:
    """The finished steps below one output location. A step counts when its object is written, which is done last."""

    output: str

    def do(self, name: str, inputs: str, work: Callable[[], Mapping[str, Any]]) -> Done:
        """The step's result: the recorded one if it was finished with the same inputs, else `work`'s."""
        if earlier := self.done(name, inputs):
            return earlier
        started = time.monotonic()
        result = work()
        return self.record(name, inputs, result, time.monotonic() - started)

    def done(self, name: str, inputs: str | None = None) -> Done | None:
        """The step as an earlier call finished it: with the same inputs, or (None) with whatever it had."""
        if not exists(self._uri(name)):
            return None
        line = json.loads(read_bytes(self._uri(name)))
        same = inputs in (None, line["inputs"])
        return Done(name, line["result"], line["seconds"], earlier=True) if same else None

    def record(self, name: str, inputs: str, result: Mapping[str, Any], seconds: float) -> Done:
        """From now on the step counts as finished."""
        line = {"inputs": inputs, "seconds": seconds, "result": result}
        write_bytes(self._uri(name), json.dumps(line, indent=1).encode())
        return Done(name, result, seconds, earlier=False)

    def _uri(self, name: str) -> str:
        return join(self.output, "steps", f"{name}.json")
