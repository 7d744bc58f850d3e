"""Clips at rest: Parquet shards, text packed with zstd, images stored as they are, row groups to stream by."""

import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.parquet as pq

from infra import objects
from ingest.records import CLIP_SCHEMA, Clip, check_version, from_table, to_table
from ingest.stores import ledger

_IMAGES = "frames.list.element"  # JPEG: packing it again costs time and saves nothing
_MAX_PART_BYTES = 128 << 20
_MAX_GROUP_BYTES = 32 << 20  # of frames; some row groups are read together


def part_uri(store: str, stream: str, name: str) -> str:
    """Where a part of a stream lies."""
    return objects.join(store, stream, "shards", name)


@dataclass
class PartWriter:
    """Writes the clips of one input shard as `part-<hash>-<n>.parquet`, each a whole object, n from 0.

    The same clips give the same names and the same bytes, so writing twice does no harm.
    """

    store: str
    stream: str
    shard_hash: str
    row_group: int
    max_part_bytes: int = _MAX_PART_BYTES
    parts: list[ledger.Part] = field(default_factory=list)
    _waiting: list[Clip] = field(default_factory=list)
    _tables: list[pa.Table] = field(default_factory=list)
    _num_bytes: int = 0
    _waiting_bytes: int = 0

    def add(self, clip: Clip) -> None:
        """Take one more clip; writes a part when enough have gathered."""
        self._waiting.append(clip)
        self._waiting_bytes += sum(map(len, clip.frames))
        if len(self._waiting) == self.row_group or self._waiting_bytes >= _MAX_GROUP_BYTES:
            self._close_row_group()
        if self._num_bytes >= self.max_part_bytes:
            self._write_part()

    def finish(self) -> tuple[ledger.Part, ...]:
        """Write what remains; the parts in order. No clips, no part."""
        self._close_row_group()
        self._write_part()
        return tuple(self.parts)

    def _close_row_group(self) -> None:
        if self._waiting:
            self._tables.append(to_table(Clip, self._waiting))
            self._num_bytes += self._tables[-1].nbytes
            self._waiting, self._waiting_bytes = [], 0

    def _write_part(self) -> None:
        if not self._tables:
            return
        name = f"part-{self.shard_hash}-{len(self.parts)}.parquet"
        data = _parquet(self._tables)
        objects.write_bytes(part_uri(self.store, self.stream, name), data)
        groups = tuple(table.num_rows for table in self._tables)
        self.parts.append(ledger.Part(name, groups, len(data)))
        self._tables, self._num_bytes = [], 0


def _parquet(tables: Sequence[pa.Table]) -> bytes:
    """One Parquet file with one row group per table."""
    buffer = io.BytesIO()
    compression = dict.fromkeys(_text_paths(), "zstd") | {_IMAGES: "none"}
    with pq.ParquetWriter(buffer, CLIP_SCHEMA, compression=compression, use_dictionary=False) as writer:
        for table in tables:
            writer.write_table(table, row_group_size=table.num_rows)
    return buffer.getvalue()


def _text_paths() -> list[str]:
    return [path for field in CLIP_SCHEMA for path in _leaves(field.name, field.type) if path != _IMAGES]


def _leaves(path: str, kind: pa.DataType) -> list[str]:
    """Parquet's names of the columns below a field."""
    if pa.types.is_list(kind):
        return _leaves(f"{path}.list.element", kind.value_type)
    if pa.types.is_struct(kind):
        return [leaf for inner in kind for leaf in _leaves(f"{path}.{inner.name}", inner.type)]
    return [path]


def read_row_group(uri: str, index: int) -> pa.Table:
    """One row group of a part. Raises StorageError, pa.ArrowInvalid (damaged), ValueError (other version)."""
    with objects.translated(uri), objects.open_input(uri, random_access=True) as source:
        file = pq.ParquetFile(source, pre_buffer=True)  # neighbouring columns in one request
        check_version(file.schema_arrow)
        return file.read_row_group(index)


def read_part(uri: str) -> pa.Table:
    """A whole part as a table in the schema of clips."""
    table = pq.read_table(io.BytesIO(objects.read_bytes(uri)))
    check_version(table.schema)
    return table


def read_clips(store: str, stream: str, limit: int | None = None) -> list[Clip]:
    """The first clips of a stream in stored order (the order of the ledger), without Ray."""
    clips: list[Clip] = []
    for table in _parts(store, stream):
        wanted = table.slice(0, None if limit is None else limit - len(clips))
        clips += from_table(Clip, wanted)
        if limit is not None and len(clips) >= limit:
            break
    return clips


def _parts(store: str, stream: str) -> Iterator[pa.Table]:
    for part in parts_of(ledger.Ledger(store, stream).committed().values()):
        yield read_part(part_uri(store, stream, part.name))


def parts_of(lines: Iterable[ledger.Line]) -> list[ledger.Part]:
    """The parts of some lines of the ledger, in stored order: by input shard's hash, then part number."""
    return [part for line in sorted(lines, key=lambda line: line.shard) for part in line.parts]
