"""What a source gives, in a form that tests compare."""

from pathlib import Path

from ingest.records import Media, Reject
from ingest.source import Source


def read_all(source: Source, rows_per_shard: int = 64) -> list[Media | Reject]:
    """Everything in an archive, in order."""
    return [item for shard in source.shards(rows_per_shard) for item in source.read(shard)]


def media_of(items: list[Media | Reject]) -> list[Media]:
    """The media among them."""
    return [item for item in items if isinstance(item, Media)]


def reasons_of(items: list[Media | Reject]) -> list[str]:
    """Why the others are none; every uid stands once."""
    assert len({item.uid for item in items}) == len(items)
    return [item.reason for item in items if isinstance(item, Reject)]


def write_list(folder: Path, name: str, *lines: str | bytes) -> None:
    """A list file with Windows line ends."""
    folder.mkdir(parents=True, exist_ok=True)
    data = [line if isinstance(line, bytes) else line.encode() for line in lines]
    (folder / name).write_bytes(b"\r\n".join(data) + b"\r\n")
