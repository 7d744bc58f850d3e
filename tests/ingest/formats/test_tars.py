"""Tars as they come: any order, any member missing, cut off, damaged."""

import json
import tarfile
from pathlib import Path

import pytest

from infra.errors import UserError
from ingest.formats import tars as webdataset
from ingest.records import Media, Reject, stable_uid, to_table
from ingest.sources.cc12m import CC12M
from tests.conftest import S3Server
from tests.ingest.media_files import jpeg, write_tar
from tests.ingest.sources.reading import media_of, read_all, reasons_of

FACTS = json.dumps({"caption": "from json", "status": "success"}).encode()


def sample(key: object) -> dict[str, bytes]:
    return {f"{key}.jpg": jpeg(), f"{key}.txt": f"caption {key}".encode(), f"{key}.json": FACTS}


def test_members_meet_by_key_in_any_order(tmp_path: Path) -> None:
    members = {
        "b.txt": b"caption b",
        "a.jpg": jpeg(),
        "a.txt": b"caption a",
        "b.jpg": jpeg(),
        "a.json": FACTS,
        "b.json": FACTS,
        "c.jpg": jpeg(),
        "c.json": FACTS,
        "d.txt": b"no image",
        "e.jpg": jpeg(),
        "f.jpg": jpeg(),
        "f.txt": b"its json is none",
        "f.json": b"{",
        "g.json": b"[" * 100_000,
        "h.JPG": jpeg(),
        "h.txt": b"no json",
    }
    write_tar(tmp_path / "00000.tar", members)
    found = read_all(CC12M(str(tmp_path)))
    captions = {media.key: media.captions for media in media_of(found)}
    assert captions == {"a": ("caption a",), "b": ("caption b",), "c": ("from json",), "h": ("no json",)}
    reasons = {item.uid: item.reason for item in found if isinstance(item, Reject)}
    expected = {"d": "no_image", "e": "no_caption", "f": "bad_json", "g": "bad_json"}
    assert reasons == {stable_uid("cc12m", key): reason for key, reason in expected.items()}


def test_two_downloads_below_one_root_keep_their_keys_apart(tmp_path: Path) -> None:
    write_tar(tmp_path / "one/00000.tar", sample(0))
    write_tar(tmp_path / "two/00000.tar", sample(0))
    assert [media.key for media in media_of(read_all(CC12M(str(tmp_path))))] == ["one/0", "two/0"]


def test_a_key_that_comes_twice_is_one_medium_and_one_reject(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "00000.tar", sample(0))
    with tarfile.open(path, "a") as tar, tarfile.open(write_tar(tmp_path / "x", {"0.jpg": jpeg(8)})) as more:
        for member in more:
            tar.addfile(member, more.extractfile(member))
    found = read_all(CC12M(str(tmp_path)))
    assert [media.payload for media in media_of(found)] == [jpeg()]
    assert reasons_of(found) == ["repeated_key"]


def test_a_tar_that_breaks_off_gives_what_it_holds_and_one_reject(tmp_path: Path) -> None:
    members = {name: data for number in range(4) for name, data in sample(number).items()}
    path = write_tar(tmp_path / "00000.tar", {**members, "4.jpg": bytes(4000)})
    with tarfile.open(path) as tar:
        last = tar.getmembers()[-1].offset_data
    path.write_bytes(path.read_bytes()[: last + 1000])
    found = read_all(CC12M(str(tmp_path)))
    assert [media.key for media in media_of(found)] == ["0", "1", "2", "3"]
    assert reasons_of(found) == ["truncated"]


@pytest.mark.parametrize("damage", [b"", bytes(range(256)) * 2])
def test_a_tar_without_its_end_mark_or_with_a_bad_header_says_so(tmp_path: Path, damage: bytes) -> None:
    path = write_tar(tmp_path / "00000.tar", {**sample(0), **sample(1)})
    with tarfile.open(path) as tar:
        second = tar.getmembers()[3].offset
    path.write_bytes(path.read_bytes()[:second] + damage)
    found = read_all(CC12M(str(tmp_path)))
    assert [media.key for media in media_of(found)] == ["0"]
    assert reasons_of(found) == ["truncated"]


def test_what_is_no_tar_is_one_reject(tmp_path: Path) -> None:
    (tmp_path / "00000.tar").write_bytes(b"no tar" * 1000)
    (tmp_path / "00001.tar").write_bytes(b"")
    assert reasons_of(read_all(CC12M(str(tmp_path)))) == ["truncated", "truncated"]


def test_names_and_captions_that_are_no_text_can_still_be_stored(tmp_path: Path) -> None:
    facts = b'{"caption": "half a pair \\ud83d", "status": "success"}'
    write_tar(tmp_path / "00000.tar", {"a\udcff.jpg": jpeg(), "a\udcff.json": facts})
    (media,) = media_of(read_all(CC12M(str(tmp_path))))
    assert (media.key, media.captions) == ("a\\udcff", ("half a pair \\ud83d",))
    to_table(Media, [media])


def test_members_beyond_the_limit_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webdataset, "MAX_MEMBER_BYTES", 2000)
    write_tar(tmp_path / "00000.tar", {**sample(0), "1.jpg": bytes(3000), "1.txt": b"one"})
    found = read_all(CC12M(str(tmp_path)))
    assert [media.key for media in media_of(found)] == ["0"]
    assert sorted({item.reason for item in found if isinstance(item, Reject)}) == ["no_image", "too_large"]


def test_unfinished_samples_beyond_the_memory_limit_wait_on_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webdataset, "_HELD_BYTES", 3000)
    monkeypatch.setattr(webdataset, "_SMALL_BYTES", 500)
    pictures = {f"{number}.jpg": bytes([number]) * 1000 for number in range(10)}
    texts = {f"{number}.txt": b"caption" for number in range(10)}
    write_tar(tmp_path / "00000.tar", {**pictures, **texts})
    found = media_of(read_all(CC12M(str(tmp_path))))
    assert sorted((media.key, media.payload) for media in found) == [
        (str(number), bytes([number]) * 1000) for number in range(10)
    ]


def test_a_folder_without_tars_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no \.tar file lies below"):
        CC12M(str(tmp_path)).shards(64)


def test_a_tar_in_a_bucket_reads_as_one_on_disk(tmp_path: Path, s3_server: S3Server) -> None:
    write_tar(tmp_path / "00000.tar", {**sample(0), **sample(1)})
    root = s3_server.upload(tmp_path, "tars")
    here, there = (read_all(CC12M(str(where))) for where in (tmp_path, root))
    assert all(isinstance(item, Media) for item in there)
    assert [(m.uid, m.payload) for m in media_of(here)] == [(m.uid, m.payload) for m in media_of(there)]
