"""URI to bytes and back: a local folder or s3:// (through fsspec, never through pyarrow's own S3 client).

S3 credentials and endpoint come from the environment alone (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY,
AWS_ENDPOINT_URL, AWS_DEFAULT_REGION) or from the instance's role. Failures become one `StorageError` that names the
URI and the reason, and never a key.
"""

import errno
import functools
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast
from urllib.parse import urlsplit

import fsspec
import pyarrow.fs as pafs
from botocore import exceptions as boto

from infra.errors import StorageError
from infra.patience import endpoint

_S3_CONFIG = {
    "connect_timeout": 10,
    "read_timeout": 60,
    "retries": {"total_max_attempts": 1, "mode": "standard"},  # infra.patience waits, botocore does not
    "request_checksum_calculation": "when_required",  # other servers than AWS answer the new checksums wrongly
    "response_checksum_validation": "when_required",
}


class MissingError(StorageError):
    """Nothing is stored at this URI."""


def filesystem(uri: str) -> tuple[Any, str]:
    """The fsspec filesystem of a URI and the path inside it."""
    scheme = urlsplit(uri).scheme
    if scheme in ("", "file"):
        return _filesystem("file", os.getpid()), str(
            Path(uri.removeprefix("file://")).expanduser().absolute()
        )
    if scheme == "s3":
        return _filesystem("s3", os.getpid()), uri.removeprefix("s3://").rstrip("/")
    raise StorageError(f"{uri}: scheme {scheme!r} is not supported; use a local path or s3://bucket/key")


@functools.cache
def _filesystem(scheme: str, process: int) -> Any:
    """One filesystem per process: s3fs must not be used across a fork."""
    if scheme == "file":
        return fsspec.filesystem("file", skip_instance_cache=True)
    from infra.patience import PatientS3  # s3fs is slow to import, and few processes need it

    return PatientS3(
        skip_instance_cache=True, use_listings_cache=False, config_kwargs=_S3_CONFIG, default_fill_cache=False
    )


def local_path(uri: str) -> Path | None:
    """The path of a local URI; None for a remote one."""
    return Path(filesystem(uri)[1]) if urlsplit(uri).scheme in ("", "file") else None


def absolute(uri: str) -> str:
    """The same place whatever the working folder: workers run in another, where relative paths fail."""
    path = local_path(uri)
    return str(path.resolve()) if path else uri


def join(uri: str, *parts: str) -> str:
    """`uri` with further path parts; each is taken as relative."""
    return "/".join([uri.rstrip("/"), *(part.strip("/") for part in parts if part)])


def read_bytes(uri: str, start: int | None = None, stop: int | None = None) -> bytes:
    """The bytes of an object, or those from `start` up to and without `stop`. Raises MissingError, StorageError."""
    fs, path = filesystem(uri)
    with translated(uri):
        return bytes(fs.cat_file(path, start=start, end=stop))


def read_many(uris: Sequence[str]) -> list[bytes]:
    """Several small objects of one store, fetched together, in the order asked."""
    if not uris:
        return []
    fs, _ = filesystem(uris[0])
    paths = [filesystem(uri)[1] for uri in uris]
    with translated(uris[0]):
        found = fs.cat(paths) if len(paths) > 1 else {paths[0]: fs.cat_file(paths[0])}
    return [found[path] for path in paths]


def write_bytes(uri: str, data: bytes) -> None:
    """Store an object whole: a reader sees the old bytes or the new ones, never a part."""
    fs, path = filesystem(uri)
    with translated(uri):
        if local_path(uri) is not None:
            _replace(Path(path), data)
        else:
            fs.pipe_file(path, data)


def _replace(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(descriptor)
            os.fchmod(descriptor, 0o666 & ~_umask())  # a temporary file is its owner's alone; this one is not
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


@functools.cache
def _umask() -> int:
    """The process's mask for new files; it can only be read by setting it."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def upload_folder(folder: str | Path, uri: str) -> None:
    """Copy everything below a local folder to a URI."""
    fs, path = filesystem(uri)
    with translated(uri):
        fs.put(f"{folder}/", f"{path}/", recursive=True)


def exists(uri: str) -> bool:
    """Whether an object or a folder is stored at this URI; a refused key or unreachable endpoint raises."""
    fs, path = filesystem(uri)
    try:
        with translated(uri):
            fs.info(path)
    except MissingError:
        return False
    return True


def size(uri: str) -> int:
    """Bytes of an object. Raises MissingError."""
    fs, path = filesystem(uri)
    with translated(uri):
        return int(fs.info(path)["size"])


def list_files(uri: str) -> list[str]:
    """URIs of every file below a folder, at any depth, sorted; an absent folder gives none, an absent bucket raises."""
    return list(list_sizes(uri))


def list_sizes(uri: str) -> dict[str, int]:
    """Files below a folder, as `list_files` gives them, with their sizes in bytes."""
    fs, path = filesystem(uri)
    with translated(uri):
        if local_path(uri) is None:
            _require_bucket(fs, path)
        found = fs.find(path, detail=True)
    hidden = (name for name in found if Path(name).name.startswith("."))
    for name in list(hidden):  # the temporary files of writers that were killed
        del found[name]
    return {
        uri.rstrip("/") + name.removeprefix(path): int(info["size"]) for name, info in sorted(found.items())
    }


def _require_bucket(fs: Any, path: str) -> None:
    """Listing below an absent bucket or with a refused key must not look like an empty folder."""
    fs.call_s3("list_objects_v2", Bucket=path.split("/", 1)[0], MaxKeys=1)


def remove(uri: str) -> None:
    """Remove an object, or a folder with all in it; nothing there is no error."""
    fs, path = filesystem(uri)
    local = local_path(uri)
    with translated(uri):
        if local is None:
            if fs.exists(path):
                fs.rm(path, recursive=True)
        elif local.is_dir() and not local.is_symlink():
            shutil.rmtree(local)
        else:
            local.unlink(missing_ok=True)


def open_input(uri: str, random_access: bool = False) -> BinaryIO:
    """An object as a seekable binary file; wrap long reads in `translated(uri)`.

    `random_access`: fetch what is asked for and nothing ahead (a reader of Parquet jumps).
    """
    fs, path = filesystem(uri)
    options = {"cache_type": "none"} if random_access and local_path(uri) is None else {}
    with translated(uri):
        return cast(BinaryIO, fs.open(path, "rb", **options))


def arrow_filesystem(uri: str) -> tuple[pafs.FileSystem, str]:
    """The same for libraries that speak pyarrow, e.g. `storage_filesystem` of Ray's RunConfig, and the path inside."""
    fs, path = filesystem(uri)
    if local_path(uri) is not None:
        return pafs.LocalFileSystem(), path
    return pafs.PyFileSystem(pafs.FSSpecHandler(fs)), path


@contextmanager
def translated(uri: str) -> Iterator[None]:
    """Turn every storage failure inside the block into one StorageError that names `uri`."""
    try:
        yield
    except StorageError:
        raise
    except FileNotFoundError as error:
        if "bucket does not exist" in str(error).lower():
            raise MissingError(f"{uri}: the bucket does not exist; create it or correct the name") from error
        raise MissingError(f"{uri}: not found") from error
    except PermissionError as error:
        raise StorageError(
            f"{uri}: access refused; check the file's rights or the AWS_* variables"
        ) from error
    except (boto.NoCredentialsError, boto.PartialCredentialsError) as error:
        message = f"{uri}: no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        raise StorageError(message) from error
    except (boto.ConnectionError, boto.HTTPClientError, ConnectionError, TimeoutError) as error:
        message = f"{uri}: {endpoint()} cannot be reached; check the network and AWS_ENDPOINT_URL"
        raise StorageError(message) from error
    except OSError as error:
        raise StorageError(f"{uri}: {_reason(error)}") from error
    except boto.BotoCoreError as error:
        raise StorageError(f"{uri}: the request could not be made ({type(error).__name__})") from error


def _reason(error: OSError) -> str:
    if isinstance(error.__cause__, boto.ClientError):
        return f"{endpoint()} says {error.__cause__.response.get('Error', {}).get('Code')} ({error.strerror or error})"
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            return "the disk is full; free some space and run the command again"
        case errno.EROFS:
            return "the disk is read-only"
        case errno.ENOTDIR | errno.EISDIR:
            return "a file stands where a folder is needed, or a folder where a file is needed"
        case _:
            return error.strerror or f"{type(error).__name__} ({str(error)[:200]})"
