"""List files (CSV, TSV) as input shards: byte ranges of whole rows, so that a worker reads its own rows only."""

import csv
import hashlib
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from infra import objects
from infra.errors import UserError
from ingest.records import stable_uid
from ingest.sources.source import InputShard


@dataclass(frozen=True)
class ListFile:
    """A list with a header line; `columns` are those that must be there."""

    uri: str
    layout: str
    columns: tuple[str, ...]
    delimiter: str = ","

    def shards(self, rows_per_shard: int) -> list[InputShard]:
        """Byte ranges of `rows_per_shard` rows; the last may hold fewer."""
        with objects.open_input(self.uri) as file, objects.translated(self.uri):
            records = _records(file)
            first = next(records, b"")
            header = first.decode("utf-8-sig").rstrip("\r\n")
            self._check(header)
            shards = list(self._cut(records, header, len(first), rows_per_shard))
        if not shards:
            raise UserError(f"{self.uri}: the list has no rows")
        return shards

    def rows(self, shard: InputShard) -> list[dict[str, str | None]]:
        """The rows of a shard by column name; a short row has None where it ends."""
        text = objects.read_bytes(self.uri, shard.start, shard.stop).decode("utf-8", "replace")
        names = next(csv.reader([shard.header], delimiter=self.delimiter))
        return list(csv.DictReader(io.StringIO(text, newline=""), names, delimiter=self.delimiter))

    def _check(self, header: str) -> None:
        found = next(csv.reader([header], delimiter=self.delimiter), [])
        missing = [name for name in self.columns if name not in found]
        if missing:
            raise UserError(f"{self.uri}: no column {', '.join(missing)}; its header is {header[:200]!r}")

    def _cut(self, records: Iterable[bytes], header: str, start: int, size: int) -> Iterator[InputShard]:
        rows = _Rows(start)
        for record in records:
            rows.add(record)
            if rows.count == size:
                yield self._shard(header, rows)
                rows = _Rows(rows.stop, rows.first + size)
        if rows.count:
            yield self._shard(header, rows)

    def _shard(self, header: str, rows: "_Rows") -> InputShard:
        name = PurePosixPath(self.uri).name
        content = rows.state.hexdigest()
        return InputShard(
            hash=stable_uid(self.layout, name, rows.first, content),
            slot=f"{self.layout}/{name}/{rows.first}",
            name=f"{name} rows {rows.first}-{rows.first + rows.count - 1}",
            uri=self.uri,
            header=header,
            start=rows.start,
            stop=rows.stop,
            num_rows=rows.count,
        )


@dataclass
class _Rows:
    """Consecutive rows gathered for a shard."""

    start: int
    first: int = 0
    count: int = 0
    stop: int = 0
    state: "hashlib._Hash" = field(default_factory=hashlib.sha256)

    def __post_init__(self) -> None:
        self.stop = self.start

    def add(self, record: bytes) -> None:
        self.state.update(record.rstrip(b"\r\n") + b"\n")
        self.stop += len(record)
        self.count += 1


def _records(file: Iterable[bytes]) -> Iterator[bytes]:
    """Whole records: a line break inside quotes does not end one. Blank lines belong to the record after them."""
    record = b""
    for line in file:
        record += line
        if record.count(b'"') % 2 == 0 and record.strip():
            yield record
            record = b""
    if record.strip():
        yield record
