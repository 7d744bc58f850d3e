"""What a source is: an archive in a published layout, cut into input shards and read one shard at a time."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Protocol, runtime_checkable

from ingest.records import Media, Reject


@dataclass(frozen=True)
class InputShard:
    """What is committed as one: a tar, or some consecutive rows of a list file.

    `hash` covers what the shard is and what it says, never where it lies, so an archive that moves keeps its
    shards. `slot` is its place in the archive: other content in the same slot means that the archive changed.
    `header` is the header line of a list, or the names of the files where no list holds them; `start` and `stop`
    are bytes of the list, or of a tar all of it.
    """

    hash: str
    slot: str
    name: str
    uri: str
    header: str = ""
    start: int = 0
    stop: int = 0
    num_rows: int = 0


class Source(Protocol):
    """An archive. `shards` runs on the driver and is cheap; `read` runs on a worker."""

    @property
    def name(self) -> str:
        """Name of the layout; part of every uid."""
        ...

    @property
    def stream(self) -> str:
        """Stream of the store that its clips go to."""
        ...

    @property
    def narrated(self) -> bool:
        """Whether clips are cut by what is said, so that media without a transcript need one."""
        ...

    def shards(self, rows_per_shard: int) -> list[InputShard]:
        """The input shards, in order, some hundred bytes each. Raises StorageError, UserError (no such columns)."""
        ...

    def read(self, shard: InputShard) -> Iterator[Media | Reject]:
        """The media of one shard, in order."""
        ...


@runtime_checkable
class Growing(Protocol):
    """An archive without a list, to which files may come: what is new makes input shards beside those there are."""

    def shards_with(self, rows_per_shard: int, slots: Collection[str]) -> list[InputShard]:
        """The input shards where those of these slots are committed. Raises as `Source.shards` does."""
        ...


def shards_of(source: Source, rows_per_shard: int, slots: Collection[str]) -> list[InputShard]:
    """The input shards of a source of which these slots are committed."""
    if isinstance(source, Growing):
        return source.shards_with(rows_per_shard, slots)
    return source.shards(rows_per_shard)


def inside(key: str) -> bool:
    """Whether a key from an archive names something below the archive's own folder."""
    path = PurePosixPath(key)
    return bool(path.name) and not path.is_absolute() and ".." not in path.parts and len(key) <= 1000


def printable(text: str) -> str:
    """A text that can be stored: what is no character (half of a pair, a byte that is none) is written out."""
    return text.encode("utf-8", "backslashreplace").decode()
