"""Small files of an archive, read whole: up to a limit, since nobody knows what lies there."""

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
