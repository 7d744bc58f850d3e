"""CC12M's own list (url, TAB, caption), for a download made without captions.

img2dataset numbers its shards in the order of the list, so each shard is given its own stretch of it; which caption
belongs to which image is then decided by the address alone.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from infra import objects
from ingest.formats.lists import lines_of, list_uri, open_list
from ingest.records import stable_uid
from ingest.source import InputShard

_ROWS = 10_000  # img2dataset's number_sample_per_shard


@dataclass(frozen=True)
class _Stretch:
    start: int
    stop: int
    content: str


@dataclass(frozen=True)
class CaptionList:
    """The list of an archive; none where the download holds its captions."""

    root: str
    list_file: str

    def with_list(self, shards: Sequence[InputShard]) -> list[InputShard]:
        """The shards, each with its stretch of the list. Raises StorageError."""
        if not self.list_file:
            return list(shards)
        uri = list_uri(self.root, self.list_file)
        stretches = _stretches(uri)
        return [_joined(shard, uri, stretches) for shard in shards]


def captions_of(shard: InputShard) -> dict[str, str]:
    """Captions by address in a shard's stretch of the list."""
    if not shard.header:
        return {}
    lines = objects.read_bytes(shard.header, shard.start, shard.stop).decode("utf-8", "replace").split("\n")
    rows = (line.split("\t", 1) for line in lines)
    return {row[0].strip(): row[1].strip() for row in rows if len(row) == 2}


def _joined(shard: InputShard, uri: str, stretches: Sequence[_Stretch]) -> InputShard:
    number = PurePosixPath(shard.name).stem
    if not number.isdigit() or int(number) >= len(stretches):
        return replace(shard, start=0, stop=0)
    found = stretches[int(number)]
    uid = stable_uid(shard.hash, found.content)
    return replace(shard, hash=uid, header=uri, start=found.start, stop=found.stop)


def _stretches(uri: str) -> list[_Stretch]:
    """Byte ranges of 10,000 rows, in one pass; a header line is none of them."""
    found: list[_Stretch] = []
    start = stop = count = 0
    state = hashlib.blake2b(digest_size=16)
    with open_list(uri) as file, objects.translated(uri):
        for line in lines_of(file):
            stop += line.size
            if start == 0 and count == 0 and line.data.lower().startswith(b"url\t"):
                start = stop
                continue
            state.update(line.data)
            count += 1
            if count == _ROWS:
                found.append(_Stretch(start, stop, state.hexdigest()))
                start, count, state = stop, 0, hashlib.blake2b(digest_size=16)
    if count:
        found.append(_Stretch(start, stop, state.hexdigest()))
    return found
