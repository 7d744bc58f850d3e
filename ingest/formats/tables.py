"""Parquet that img2dataset writes: a row per address, its image among the columns."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from infra import objects

_BATCH = 64
_FACTS = ("key", "url", "caption", "txt", "status", "error_message")


@dataclass(frozen=True)
class ImageRow:
    """One row: its image's bytes, if it has one, and the rest of it."""

    image: bytes | None
    facts: dict[str, Any]


@dataclass(frozen=True)
class Damage:
    """A row that cannot be read, or a whole file."""

    reason: str
    detail: str


def rows(uri: str, images: Sequence[str]) -> Iterator[ImageRow | Damage]:
    """The rows in order, a few in memory at a time; as many Damages as a damaged row group has rows.

    `images`: names the image's column may have. Raises StorageError.
    """
    with objects.translated(uri), objects.open_input(uri, random_access=True) as source:
        try:
            file = pq.ParquetFile(source)
        except (pa.ArrowException, OSError) as error:
            yield _damage(error, "truncated")
            return
        names = set(file.schema_arrow.names)
        image = next((name for name in images if name in names), None)
        if image is None or "key" not in names:
            yield Damage("bad_columns", f"neither key nor image in {sorted(names)}")
            return
        for group in range(file.num_row_groups):
            yield from _group(file, group, image, [name for name in _FACTS if name in names])


def _group(file: pq.ParquetFile, group: int, image: str, facts: list[str]) -> Iterator[ImageRow | Damage]:
    given = 0
    try:
        for batch in file.iter_batches(_BATCH, row_groups=[group], columns=[image, *facts]):
            for number in range(batch.num_rows):
                given += 1
                yield _row(batch, number, image)
    except (pa.ArrowException, OSError) as error:
        damage = _damage(error, "damaged")
        yield from (damage for _ in range(file.metadata.row_group(group).num_rows - given))


def _row(batch: pa.RecordBatch, number: int, image: str) -> ImageRow | Damage:
    try:
        row = {name: batch.column(name)[number].as_py() for name in batch.schema.names}
    except UnicodeDecodeError as error:
        return Damage("damaged", str(error))
    content = row.pop(image)
    return ImageRow(content if isinstance(content, bytes) else None, row)


def _damage(error: Exception, reason: str) -> Damage:
    """What is wrong with the file; a store that fails is something else, and is raised."""
    ours = isinstance(error, pa.ArrowException) or (type(error) is OSError and error.errno is None)
    if not ours:  # Arrow's own OSErrors have no number
        raise error
    return Damage(reason, f"{type(error).__name__}: {error}")
