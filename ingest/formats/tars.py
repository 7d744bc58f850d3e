"""WebDataset tars: members that share a key make a sample, in whatever order they come."""

import re
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import IO, BinaryIO

from infra import objects
from infra.errors import UserError
from ingest.records import stable_uid
from ingest.source import InputShard, printable

MAX_MEMBER_BYTES = 1 << 30
"""Members beyond this are not read."""
_HELD_BYTES = 64 << 20  # of unfinished samples; more of them wait on disk
_SMALL_BYTES = 64 << 10  # a member that never does
_NAME = re.compile(r"(?P<key>(?:.*/)?[^./][^./]*)\.(?P<extension>[^/]*)", re.DOTALL)


@dataclass(frozen=True)
class Sample:
    """The members of one key by extension ("jpg", "txt", "json"), or what is wrong with it."""

    key: str
    members: Mapping[str, bytes]
    fault: str = ""
    places: Mapping[str, str] = field(default_factory=dict)
    """What makes of the shard's URI one that names a member alone, by extension."""


class TruncatedTarError(Exception):
    """The tar ends, or cannot be read on, before its end mark; the samples before that were given."""


def tar_shards(root: str, name: str) -> list[InputShard]:
    """One input shard per tar below a folder."""
    sizes = objects.list_sizes(root)
    shards = [whole_file(root, name, uri, size) for uri, size in sizes.items() if uri.endswith(".tar")]
    if not shards:
        raise UserError(f"{root}: no .tar file lies below this folder")
    return shards


def whole_file(root: str, name: str, uri: str, size: int) -> InputShard:
    """The input shard that is one file of an archive."""
    inside = uri.removeprefix(root.rstrip("/")).strip("/")
    return InputShard(stable_uid(name, inside, size), f"{name}/{inside}", inside, uri, stop=size)


def samples(file: BinaryIO, complete: Callable[[Mapping[str, bytes]], bool]) -> Iterator[Sample]:
    """The samples of a tar, each as soon as it is `complete`, the others at the end of the tar.

    A member that comes a second time, or is too large, is given as a sample of its own with a fault. Memory holds
    one sample, or up to 64 MiB of unfinished ones. Raises TruncatedTarError after the last readable sample.
    """
    done: dict[str, frozenset[str]] = {}
    damage: str | None = None
    places: dict[str, dict[str, str]] = {}
    with _Waiting() as waiting:
        try:
            with tarfile.open(fileobj=file, mode="r|*", tarinfo=_Header) as tar:
                for key, extension, content, place in _members(tar):
                    if content is None:
                        yield Sample(key, {extension: b""}, "too_large")
                    elif extension in done.get(key, ()) or waiting.has(key, extension):
                        yield Sample(key, {extension: content}, "repeated_key")
                    elif key not in done:
                        places.setdefault(key, {})[extension] = place
                        if complete(members := waiting.add(key, extension, content)):
                            done[key] = frozenset(members)
                            yield Sample(key, waiting.take(key), places=places.pop(key))
        except (tarfile.TarError, EOFError) as error:
            damage = str(error) or type(error).__name__
        for key in waiting.keys():  # noqa: SIM118 - not a mapping
            yield Sample(key, waiting.take(key), places=places.pop(key))
    if damage is not None:
        raise TruncatedTarError(damage)


def _members(tar: tarfile.TarFile) -> Iterator[tuple[str, str, bytes | None, str]]:
    """Key, extension, content (None of one beyond the limit) and place of each file."""
    for member in tar:
        found = _NAME.fullmatch(printable(member.name).removeprefix("./"))
        if found is None or not member.isreg():
            continue
        content = None
        if member.size <= MAX_MEMBER_BYTES:
            stream = tar.extractfile(member)
            assert stream is not None
            content = stream.read()
        place = f"#{member.offset_data}+{member.size}/{found[0]}"  # true of tars that are not packed
        yield found["key"], found["extension"].lower(), content, place
        tar.members.clear()  # type: ignore[attr-defined]  # tarfile would keep every header


class _Header(tarfile.TarInfo):
    """A header of a tar. Tarfile takes a damaged or missing one for the end, and what follows is lost in silence."""

    @classmethod
    def fromtarfile(cls, tar: tarfile.TarFile) -> "_Header":
        try:
            return super().fromtarfile(tar)
        except (tarfile.InvalidHeaderError, tarfile.EmptyHeaderError) as error:  # type: ignore[attr-defined]
            raise tarfile.ReadError(f"no end mark: {error}") from error


@dataclass
class _Waiting:
    """Members of unfinished samples: in memory, and beyond a limit in a file."""

    _members: dict[str, dict[str, bytes]] = field(default_factory=dict)
    _spilled: dict[str, dict[str, tuple[int, int]]] = field(default_factory=dict)
    _held: int = 0
    _file: IO[bytes] | None = None

    def __enter__(self) -> "_Waiting":
        return self

    def __exit__(self, *error: object) -> None:
        if self._file is not None:
            self._file.close()

    def has(self, key: str, extension: str) -> bool:
        """Whether this member is there already."""
        return extension in self._members.get(key, ()) or extension in self._spilled.get(key, ())

    def add(self, key: str, extension: str, content: bytes) -> Mapping[str, bytes]:
        """Take a member; all members of its key, those on disk as empty bytes."""
        self._members.setdefault(key, {})[extension] = content
        self._held += _weight(content)
        if self._held > _HELD_BYTES:
            self._spill()
        return {**dict.fromkeys(self._spilled.get(key, ()), b""), **self._members.get(key, {})}

    def take(self, key: str) -> dict[str, bytes]:
        """Give a sample away."""
        held = self._members.pop(key, {})
        self._held -= sum(map(_weight, held.values()))
        return {**{kind: self._read(*place) for kind, place in self._spilled.pop(key, {}).items()}, **held}

    def keys(self) -> list[str]:
        """The unfinished samples, in the order they began."""
        return list(dict.fromkeys([*self._spilled, *self._members]))

    def _spill(self) -> None:
        self._file = self._file or tempfile.TemporaryFile()  # noqa: SIM115 - closed in __exit__
        for key, members in self._members.items():
            for extension in [kind for kind, content in members.items() if _weight(content)]:
                content = members.pop(extension)
                self._spilled.setdefault(key, {})[extension] = (self._file.seek(0, 2), len(content))
                self._file.write(content)
        self._held = 0

    def _read(self, start: int, size: int) -> bytes:
        assert self._file is not None
        self._file.seek(start)
        return self._file.read(size)


def _weight(content: bytes) -> int:
    return len(content) if len(content) > _SMALL_BYTES else 0
