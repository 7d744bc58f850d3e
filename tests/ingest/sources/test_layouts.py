"""The three published layouts, read from real files."""

import json
import tarfile
from pathlib import Path

import pytest

from infra.errors import UserError
from ingest.records import Media, Reject, stable_uid
from ingest.sources.cc12m import CC12M
from ingest.sources.lists import ListFile
from ingest.sources.source import Source
from ingest.sources.webvid import WebVid
from ingest.sources.yt_temporal import YTTemporal
from tests.ingest.archives import SENTENCES, annotation
from tests.ingest.media_files import jpeg, write_tar


def read_all(source: Source, rows_per_shard: int = 64) -> list[Media | Reject]:
    return [item for shard in source.shards(rows_per_shard) for item in source.read(shard)]


def write_list(folder: Path, name: str, *lines: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes("\r\n".join(lines).encode() + b"\r\n")


def test_webvid_rows_become_media_with_one_caption(tmp_path: Path) -> None:
    header = "videoid,contentUrl,duration,page_dir,name"
    rows = ['21,u,PT1S,p_1,"a, quoted"', "22,u,PT1S,p_1,", '23,u,PT1S,p_2,"two\r\nlines"', "24"]
    write_list(tmp_path, "results_train.csv", header, *rows)
    first, no_caption, third, short = read_all(WebVid(str(tmp_path)), rows_per_shard=2)
    assert isinstance(first, Media)
    assert (first.key, first.captions) == ("p_1/21", ("a, quoted",))
    assert first.uri == f"{tmp_path}/videos/p_1/21.mp4"
    assert first.uid == stable_uid("webvid", "p_1/21")
    assert isinstance(third, Media)
    assert third.captions == ("two\r\nlines",)
    assert [item.reason for item in (no_caption, short) if isinstance(item, Reject)] == [
        "no_caption",
        "bad_row",
    ]


def test_shards_of_a_list_do_not_depend_on_where_it_lies_but_on_what_it_says(tmp_path: Path) -> None:
    lines = ["a,b", *(f"{number},x" for number in range(10))]
    write_list(tmp_path / "one", "list.csv", *lines)
    write_list(tmp_path / "two", "list.csv", *lines, "10,x")
    one, two = (
        ListFile(str(tmp_path / folder / "list.csv"), "layout", ("a",)).shards(4) for folder in ("one", "two")
    )
    assert [shard.num_rows for shard in one] == [4, 4, 2]
    assert [shard.hash for shard in one[:2]] == [shard.hash for shard in two[:2]]
    assert one[2].slot == two[2].slot
    assert one[2].hash != two[2].hash


def test_a_list_without_its_columns_is_refused_by_name(tmp_path: Path) -> None:
    write_list(tmp_path, "results_train.csv", "videoid,caption", "1,x")
    with pytest.raises(UserError, match=r"results_train\.csv: no column page_dir, name; its header is"):
        WebVid(str(tmp_path)).shards(64)


def test_an_archive_without_content_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no \.tar file lies below"):
        CC12M(str(tmp_path)).shards(64)
    write_list(tmp_path, "results_train.csv", "videoid,contentUrl,duration,page_dir,name")
    with pytest.raises(UserError, match="the list has no rows"):
        WebVid(str(tmp_path)).shards(64)


def test_cc12m_members_meet_by_key_in_any_order(tmp_path: Path) -> None:
    facts = json.dumps({"caption": "from json", "status": "success"}).encode()
    members = {
        "b.txt": b"caption b",
        "a.jpg": jpeg(),
        "a.txt": b"caption a",
        "b.jpg": jpeg(),
        "a.json": facts,
        "b.json": facts,
        "c.jpg": jpeg(),
        "c.json": facts,
        "d.txt": b"no image",
        "e.jpg": jpeg(),
    }
    write_tar(tmp_path / "part/00000.tar", members)
    found = read_all(CC12M(str(tmp_path)))
    captions = {item.key: item.captions for item in found if isinstance(item, Media)}
    assert captions == {"a": ("caption a",), "b": ("caption b",), "c": ("from json",)}
    reasons = {item.uid: item.reason for item in found if isinstance(item, Reject)}
    assert reasons == {stable_uid("cc12m", "d"): "no_image", stable_uid("cc12m", "e"): "no_caption"}


def test_a_tar_that_breaks_off_gives_what_it_holds_and_one_reject(tmp_path: Path) -> None:
    members = {f"{number}.{kind}": jpeg() for number in range(4) for kind in ("jpg", "txt", "json")}
    path = write_tar(tmp_path / "00000.tar", {**members, "4.jpg": bytes(4000)})
    with tarfile.open(path) as tar:
        last = tar.getmembers()[-1].offset_data
    path.write_bytes(path.read_bytes()[: last + 1000])
    found = read_all(CC12M(str(tmp_path)))
    assert [item.key for item in found if isinstance(item, Media)] == ["0", "1", "2", "3"]
    assert [item.reason for item in found if isinstance(item, Reject)] == ["truncated"]


def test_yt_temporal_sentences_come_from_the_denoised_text_with_the_raw_words_times(tmp_path: Path) -> None:
    write_list(
        tmp_path, "yttemporal_train.csv", "Name", "s/data/told.mp4", "s/data/silent.mp4", "s/data/bad.mp4"
    )
    folder = tmp_path / "videos/s/annotations"
    folder.mkdir(parents=True)
    (folder / "told.json").write_text(json.dumps(annotation()))
    (folder / "bad.json").write_text("{")
    told, silent, bad = read_all(YTTemporal(str(tmp_path)))
    assert isinstance(told, Media)
    assert told.utterances is not None
    assert [utterance.text for utterance in told.utterances] == list(SENTENCES)
    # words stand at 0.5 + n/3 s: "One is here" begins with word 0, "Two" with word 3, and ends what came before
    assert [u.start_s for u in told.utterances] == pytest.approx([0.5, 1.5, 0.5 + 5 / 3, 0.5 + 7 / 3])
    assert told.utterances[0].end_s == pytest.approx(1.5)
    assert isinstance(silent, Media)
    assert silent.utterances is None
    assert isinstance(bad, Reject)
    assert bad.reason == "bad_annotation"
