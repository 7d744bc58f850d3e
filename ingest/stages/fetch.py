"""A medium's bytes as a local file, for programs and libraries that read files."""

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from infra import objects
from ingest.decode.failure import MediaError
from ingest.records import Media

_PIECE_BYTES = 1 << 20


@contextmanager
def local_file(media: Media) -> Iterator[Path]:
    """The medium's own file where it lies on this machine, else a copy for the time of the block.

    Raises MediaError: missing; StorageError where the store itself fails.
    """
    if media.payload is None and (path := objects.local_path(media.uri)) is not None:
        if not path.is_file():
            raise MediaError("missing", str(media.key))
        yield path
        return
    with tempfile.NamedTemporaryFile(suffix=PurePosixPath(media.key).suffix) as file:
        file.write(media.payload if media.payload is not None else _fetch(media))
        file.flush()
        yield Path(file.name)


def _fetch(media: Media) -> bytes:
    try:
        return objects.read_bytes(media.uri)
    except objects.MissingError as error:
        raise MediaError("missing", str(media.key)) from error


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
