"""A medium's bytes as a local file, for programs and libraries that read files."""

import hashlib
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from infra import objects
from infra.errors import UserError
from ingest.decode.request import MediaError
from ingest.records import Media

_PIECE_BYTES = 1 << 20
_MEMBER = re.compile(r"(?P<uri>.*)#(?P<start>\d+)\+(?P<size>\d+)/[^#]*", re.DOTALL)
"""A member of a tar: the tar, the member's first byte and size, its name."""
SIGN_BYTES = 64


@contextmanager
def local_file(media: Media) -> Iterator[Path]:
    """The medium's own file where it lies on this machine, else a copy for the time of the block.

    Raises MediaError: missing; StorageError where the store itself fails.
    """
    if media.payload is None and not _MEMBER.fullmatch(media.uri) and (path := objects.local_path(media.uri)):
        if not path.is_file():
            raise MediaError("missing", str(media.key))
        yield path
        return
    with tempfile.NamedTemporaryFile(suffix=PurePosixPath(media.key).suffix) as file:
        file.write(payload(media))
        file.flush()
        yield Path(file.name)


def payload(media: Media) -> bytes:
    """The medium's bytes, fetched where they did not come with it. Raises MediaError: missing; StorageError."""
    if media.payload is not None:
        return media.payload
    try:
        return _read(media.uri)
    except objects.MissingError as error:
        raise MediaError("missing", str(media.key)) from error


def _read(uri: str, most: int | None = None) -> bytes:
    """The bytes of a file or of a tar's member, or the first of them."""
    member = _MEMBER.fullmatch(uri)
    if member is None:
        return objects.read_bytes(uri, None if most is None else 0, most)
    start, size = int(member["start"]), int(member["size"])
    return objects.read_bytes(member["uri"], start, start + min(size, most or size))


def check_reference(uri: str, begins: bytes) -> None:
    """UserError unless bytes that begin so can be read again from a medium's URI alone."""
    try:
        if _read(uri, SIGN_BYTES) == begins[:SIGN_BYTES]:
            return
    except objects.MissingError:
        pass  # a place inside a file, which no range of bytes names
    raise UserError(
        f"{uri} cannot be referenced: frames.store 'reference' needs media that are files of their own or members of "
        "tars that are not packed; use 'jpeg' or 'raw' here"
    )


def content_hash(media: Media, path: Path | None = None) -> str:
    """A hash of the medium's bytes, read piece by piece (from `path`, if they are there); "" where none can be read."""
    state = hashlib.blake2b(digest_size=20)
    if media.payload is not None:
        state.update(media.payload)
        return state.hexdigest()
    uri = str(path) if path is not None else media.uri
    try:
        with objects.translated(uri), objects.open_input(uri) as file:
            while piece := file.read(_PIECE_BYTES):
                state.update(piece)
    except objects.MissingError:
        return ""
    return state.hexdigest()
