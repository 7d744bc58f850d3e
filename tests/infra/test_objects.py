"""The same facts on local disk and on a real S3 server."""

import errno
import os
from pathlib import Path

import pytest

from infra import objects
from infra.errors import StorageError
from infra.patience import Patience, PatientS3
from tests.conftest import S3Server


@pytest.fixture(params=["local", "s3"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "local":
        return str(tmp_path / "store")
    server: S3Server = request.getfixturevalue("s3_server")
    return server.uri(tmp_path.name)


def test_what_is_written_is_read_back_listed_and_gone_after_removal(folder: str) -> None:
    uri = objects.join(folder, "a", "one.bin")
    objects.write_bytes(uri, b"0123456789")
    objects.write_bytes(objects.join(folder, "two.bin"), b"2")
    assert objects.read_bytes(uri) == b"0123456789"
    assert objects.read_bytes(uri, 2, 5) == b"234"
    assert objects.size(uri) == 10
    assert objects.list_sizes(folder) == {uri: 10, objects.join(folder, "two.bin"): 1}
    assert objects.read_many([objects.join(folder, "two.bin"), uri]) == [b"2", b"0123456789"]
    with objects.open_input(uri) as file:
        file.seek(8)
        assert file.read() == b"89"
    objects.remove(objects.join(folder, "a"))
    assert not objects.exists(uri)
    assert objects.list_files(folder) == [objects.join(folder, "two.bin")]


def test_writing_again_replaces_the_whole_object(folder: str) -> None:
    uri = objects.join(folder, "x")
    objects.write_bytes(uri, b"a long first version")
    objects.write_bytes(uri, b"short")
    assert objects.read_bytes(uri) == b"short"
    assert objects.list_files(folder) == [uri]


def test_an_absent_object_is_named_in_one_sentence(folder: str) -> None:
    uri = objects.join(folder, "absent")
    with pytest.raises(objects.MissingError, match="absent: not found"):
        objects.read_bytes(uri)
    assert objects.list_files(objects.join(folder, "nowhere")) == []


def test_pyarrow_reads_through_the_same_filesystem(folder: str) -> None:
    uri = objects.join(folder, "x")
    objects.write_bytes(uri, b"abc")
    fs, path = objects.arrow_filesystem(uri)
    with fs.open_input_stream(path) as stream:
        assert stream.read() == b"abc"


def test_an_absent_bucket_is_not_an_empty_folder(s3_server: S3Server) -> None:
    for act in (objects.list_files, objects.read_bytes, lambda uri: objects.write_bytes(uri, b"x")):
        with pytest.raises(StorageError, match="s3://no-such-bucket/x: the bucket does not exist"):
            act("s3://no-such-bucket/x")


def test_a_refused_key_is_said_without_showing_it(
    s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-the-secret-not-the-secret-not-the-se")
    objects._filesystem.cache_clear()
    try:
        for act in (objects.list_files, objects.exists, lambda uri: objects.write_bytes(uri, b"x")):
            with pytest.raises(StorageError, match="access refused") as caught:
                act(s3_server.uri("x"))
            assert "not-the-secret" not in str(caught.value)
    finally:
        objects._filesystem.cache_clear()


def test_an_unreachable_endpoint_is_named(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setattr(PatientS3, "_patience", Patience(first_s=0.0))
    objects._filesystem.cache_clear()
    try:
        with pytest.raises(StorageError, match=r"http://127\.0\.0\.1:9 cannot be reached"):
            objects.exists(s3_server.uri("x"))
    finally:
        objects._filesystem.cache_clear()


def test_a_full_disk_and_an_unknown_scheme_are_one_sentence_each() -> None:
    with pytest.raises(StorageError, match="the disk is full"), objects.translated("/somewhere"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with pytest.raises(StorageError, match="scheme 'ftp' is not supported"):
        objects.read_bytes("ftp://host/file")
