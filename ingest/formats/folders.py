"""Folders listed one at a time, so that a tree of millions of files is never held at once."""

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from infra import objects

SMALL_BYTES = 256 << 20


class TooLargeError(ValueError):
    """A file beyond the limit."""


def read_whole(uri: str, limit: int = SMALL_BYTES) -> bytes:
    """The bytes of a file. Raises TooLargeError, MissingError, StorageError."""
    size = objects.size(uri)  # an empty object has no range to ask for
    if size > limit:
        raise TooLargeError(f"{size >> 20} MiB, more than {limit >> 20}")
    return objects.read_bytes(uri)


@dataclass(frozen=True)
class Listing:
    """One folder: its place below the root ("" the root itself), its files with their sizes, its folders."""

    uri: str
    path: str
    sizes: Mapping[str, int]
    folders: tuple[str, ...]

    def fingerprint(self) -> str:
        """A hash of the names and sizes of its files."""
        state = hashlib.blake2b(digest_size=16)
        for name, size in self.sizes.items():
            state.update(f"{name}\0{size}\0".encode("utf-8", "surrogateescape"))
        return state.hexdigest()


def listing(root: str, path: str = "") -> Listing:
    """A folder, names sorted, hidden ones left out; links to files count, links to folders do not (they may turn in
    circles). Raises MissingError, StorageError."""
    uri = objects.join(root, path)
    local = objects.local_path(uri)
    sizes: dict[str, int] = {}
    inner: list[str] = []
    with objects.translated(uri):
        for name, size in _on_disk(local) if local is not None else _in_bucket(uri):
            if name.startswith("."):
                continue
            if size is None:
                inner.append(name)
            else:
                sizes[name] = size
    return Listing(uri, path, {name: sizes[name] for name in sorted(sizes)}, tuple(sorted(inner)))


def _on_disk(folder: Path) -> Iterator[tuple[str, int | None]]:
    """Names with sizes; None for a folder."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield entry.name, None
            elif entry.is_file():  # a broken link is not
                yield entry.name, entry.stat().st_size


def _in_bucket(uri: str) -> Iterator[tuple[str, int | None]]:
    """The same from an object store, a page at a time: its own listing would hold a kilobyte per object."""
    fs, path = objects.filesystem(uri)
    bucket, _, key = path.partition("/")
    prefix = f"{key}/" if key else ""
    asked: dict[str, str] = {"Bucket": bucket, "Prefix": prefix, "Delimiter": "/"}
    found = False
    while True:
        page = fs.call_s3("list_objects_v2", **asked)
        for entry in page.get("CommonPrefixes", ()):
            found = True
            yield entry["Prefix"].removeprefix(prefix).rstrip("/"), None
        for entry in page.get("Contents", ()):
            found = True
            if name := entry["Key"].removeprefix(prefix):
                yield name, int(entry["Size"])
        if not page.get("IsTruncated"):
            break
        asked["ContinuationToken"] = page["NextContinuationToken"]
    if not found:
        raise FileNotFoundError(uri)


def walk(root: str, path: str = "") -> Iterator[Listing]:
    """A folder and all below it, each before its own folders, in the order of their names."""
    waiting = [path]
    while waiting:
        found = listing(root, waiting.pop())
        yield found
        waiting += [f"{found.path}/{name}".strip("/") for name in reversed(found.folders)]
