"""WebDataset tars: members that share a key make a sample, in whatever order they come."""

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO


@dataclass(frozen=True)
class Sample:
    """The members of one key by extension ("jpg", "txt", "json")."""

    key: str
    members: dict[str, bytes]


class TruncatedTarError(Exception):
    """The tar ends before its end mark; the samples before that were given."""


def samples(file: BinaryIO, complete: frozenset[str]) -> Iterator[Sample]:
    """The samples of a tar: one with all `complete` extensions at once, the others at the end of the tar.

    Raises TruncatedTarError after the last readable sample of a damaged tar.
    """
    waiting: dict[str, dict[str, bytes]] = {}
    damage: str | None = None
    try:
        with tarfile.open(fileobj=file, mode="r|*") as tar:
            for member in tar:
                if (content := tar.extractfile(member)) is None:
                    continue
                key, _, extension = member.name.removeprefix("./").partition(".")
                waiting.setdefault(key, {})[extension.lower()] = content.read()
                if complete <= waiting[key].keys():
                    yield Sample(key, waiting.pop(key))
    except (tarfile.TarError, EOFError) as error:
        damage = str(error) or type(error).__name__
    for key, members in waiting.items():
        yield Sample(key, members)
    if damage is not None:
        raise TruncatedTarError(damage)
