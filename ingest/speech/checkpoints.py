"""Checkpoints of speech models on this node: fetched once, however many actors start at the same moment."""

import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from infra import objects
from infra.errors import UserError


def checkpoint_cache() -> Path:
    """Where fetched checkpoints lie, beside Whisper's own downloads."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "reelscript" / "speech_models"


@contextmanager
def one_at_a_time(name: str) -> Iterator[None]:
    """Held by one process of this node; the lock ends with its process."""
    folder = checkpoint_cache()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f".{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def local_checkpoint(uri: str) -> Path:
    """A checkpoint (a file or a folder) on this node: where it is, or a copy named after its URI and version."""
    if (path := objects.local_path(uri)) is not None:
        return path
    fs, remote = objects.filesystem(uri)
    with objects.translated(uri):
        found = fs.find(remote, detail=True)
        versions = [(path, fs.checksum(path)) for path in sorted(found)]
    if not versions:
        raise UserError(f"speech model {uri}: nothing is stored there")
    digest = hashlib.sha256(repr((os.environ.get("AWS_ENDPOINT_URL"), versions)).encode()).hexdigest()[:16]
    copy = checkpoint_cache() / digest / PurePosixPath(remote).name
    if not copy.exists():
        with one_at_a_time(digest):
            if not copy.exists():  # another actor was first
                _fetch(uri, copy)
    return copy


def _fetch(uri: str, copy: Path) -> None:
    """Copy whole or not at all."""
    fs, remote = objects.filesystem(uri)
    copy.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(dir=copy.parent, prefix=".partial."))
    try:
        with objects.translated(uri):
            fs.get(remote, str(partial / copy.name), recursive=True)
        (partial / copy.name).rename(copy)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
