"""What is committed: one small JSON object per input shard, written after everything else of that shard.

Two drivers that work on the same shard write the same names with the same bytes, so nothing here locks.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from infra import objects
from infra.errors import StorageError

_VERSION = 1


@dataclass(frozen=True)
class Part:
    """One Parquet file of a stream: its name, its rows in each row group, its bytes."""

    name: str
    row_groups: tuple[int, ...]
    num_bytes: int

    @property
    def num_rows(self) -> int:
        """Clips in this part."""
        return sum(self.row_groups)

    @classmethod
    def from_json(cls, text: str) -> "Part":
        """What `asdict` and JSON made of it."""
        return cls.from_values(json.loads(text))

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> "Part":
        """Raises KeyError if it is damaged."""
        return cls(values["name"], tuple(values["row_groups"]), values["num_bytes"])


@dataclass(frozen=True)
class Line:
    """One committed input shard and its place (`slot`) in its source.

    `num_transcribed` counts media whose words come from a speech model, `clips_s` sums the lengths of all clips in
    seconds, `rejects` counts by "stage/reason"; `settings` is the digest of what made it.
    """

    shard: str
    slot: str
    source: str
    name: str
    settings: str
    parts: tuple[Part, ...]
    num_media: int
    num_clips: int
    num_transcribed: int = 0
    clips_s: float = 0.0
    rejects: Mapping[str, int] = field(default_factory=dict)

    def to_json(self) -> bytes:
        """The same line always gives the same bytes."""
        return json.dumps({"version": _VERSION, **asdict(self)}, sort_keys=True).encode()

    @classmethod
    def from_json(cls, data: bytes) -> "Line":
        """Raises ValueError if another version wrote it, KeyError or TypeError if it is damaged."""
        values = json.loads(data)
        version = values.pop("version")
        if version != _VERSION:
            raise ValueError(f"ledger version {version}, this Reelscript reads version {_VERSION}")
        parts = tuple(map(Part.from_values, values.pop("parts")))
        return cls(parts=parts, **values)


@dataclass(frozen=True)
class Ledger:
    """The committed input shards of one stream of a store."""

    store: str
    stream: str

    def _uri(self, *parts: str) -> str:
        return objects.join(self.store, self.stream, "ledger", *parts)

    def commit(self, line: Line) -> None:
        """From now on the shard counts."""
        objects.write_bytes(self._uri(f"{line.shard}.json"), line.to_json())

    def committed(self) -> dict[str, Line]:
        """Every committed line by its shard's hash, in the order of the hashes."""
        uris = [uri for uri in objects.list_files(self._uri()) if uri.endswith(".json")]
        lines = [_parse(uri, data) for uri, data in zip(uris, objects.read_many(uris), strict=True)]
        return {line.shard: line for line in sorted(lines, key=lambda line: line.shard)}

    def digest(self) -> str:
        """A hash over all lines: names one state of the stream."""
        state = hashlib.blake2b(digest_size=16)
        for line in self.committed().values():
            state.update(line.to_json())
        return state.hexdigest()


def _parse(uri: str, data: bytes) -> Line:
    try:
        return Line.from_json(data)
    except (ValueError, KeyError, TypeError) as error:
        raise StorageError(f"{uri}: not a ledger line this Reelscript can read ({error})") from error
