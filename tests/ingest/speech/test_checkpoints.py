"""Checkpoints come to a node once."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from infra import objects
from infra.errors import UserError
from ingest.settings import Speech
from ingest.speech import checkpoints
from ingest.speech.checkpoints import local_checkpoint
from ingest.speech.whisper_engine import WhisperModel
from tests.conftest import S3Server
from tests.ingest.speech_model import write_random_whisper


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_checkpoint_by_uri_is_fetched_once_however_many_ask_at_once(
    s3_server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = s3_server.uri("speech_models", "tiny.pt")
    objects.write_bytes(uri, write_random_whisper(tmp_path / "tiny.pt").read_bytes())
    fetched: list[str] = []
    fetch = checkpoints._fetch

    def counted(asked: str, copy: Path) -> None:
        fetched.append(asked)
        fetch(asked, copy)

    monkeypatch.setattr(checkpoints, "_fetch", counted)
    together = Barrier(4)

    def ask(_: int) -> Path:
        together.wait()
        return local_checkpoint(uri)

    with ThreadPoolExecutor(4) as pool:
        (copy,) = set(pool.map(ask, range(4)))
    assert fetched == [uri]
    assert copy.read_bytes() == (tmp_path / "tiny.pt").read_bytes()
    assert WhisperModel(Speech(model=uri)).origin == "whisper/tiny"
    assert fetched == [uri]
    objects.write_bytes(uri, b"another version")
    assert local_checkpoint(uri).read_bytes() == b"another version"
    assert fetched == [uri, uri]


def test_a_folder_is_fetched_whole(s3_server: S3Server) -> None:
    uri = s3_server.uri("speech_models", "converted")
    for name in ("model.bin", "config.json"):
        objects.write_bytes(f"{uri}/{name}", name.encode())
    copy = local_checkpoint(uri)
    assert sorted(path.name for path in copy.iterdir()) == ["config.json", "model.bin"]
    assert (copy / "model.bin").read_bytes() == b"model.bin"


def test_what_is_not_stored_is_told_in_one_sentence(s3_server: S3Server) -> None:
    with pytest.raises(UserError, match=r"absent\.pt: nothing is stored there"):
        local_checkpoint(s3_server.uri("speech_models", "absent.pt"))
