"""A plain folder: media at any depth, and what lies beside them."""

import json
import os
from pathlib import Path

import pytest

from infra.errors import StorageError, UserError
from ingest.plan import ShardTask
from ingest.records import Reject, stable_uid, to_table
from ingest.source import InputShard
from ingest.sources.folder import Folder
from tests.conftest import S3Server
from tests.ingest.media_files import jpeg
from tests.ingest.sources.reading import media_of, read_all, reasons_of

SRT = "1\n00:00:01,000 --> 00:00:02,500\nOne is here.\n\n2\n00:00:03,000 --> 00:00:05,000\nTwo comes.\n"


def write(root: Path, files: dict[str, str | bytes]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return root


FILES: dict[str, str | bytes] = {
    "films/a.mp4": b"video",
    "films/a.txt": "a fox\n runs",
    "films/a.jpg": b"its thumbnail",
    "films/deep/er/b.MKV": b"video",
    "films/deep/er/b.json": json.dumps({"captions": ["one", "two"], "label": "x"}),
    "films/deep/c.png": jpeg(),
    "films/deep/c.txt": "a square",
    "films/deep/d.webm": b"video",
    "films/deep/d.txt": "",
    "films/.hidden/e.mp4": b"video",
    "films/deep/readme.md": "not a medium",
    "other/f.mp4": b"video",
}


def test_media_at_any_depth_with_their_captions(tmp_path: Path) -> None:
    found = read_all(Folder(str(write(tmp_path, FILES)), "films"), rows_per_shard=1)
    told = {media.key: (media.kind, media.captions, media.label) for media in media_of(found)}
    assert told == {
        "films/a.mp4": ("video", ("a fox runs",), None),
        "films/deep/c.png": ("image", ("a square",), None),
        "films/deep/er/b.MKV": ("video", ("one", "two"), "x"),
    }
    assert reasons_of(found) == ["no_caption"]
    still = next(media for media in media_of(found) if media.kind == "image")
    assert (still.payload, still.uri) == (jpeg(), f"{tmp_path}/films/deep/c.png")
    assert still.uid == stable_uid("folder", "films/deep/c.png")


def test_subtitles_are_transcripts_with_times(tmp_path: Path) -> None:
    whisper = {"segments": [{"text": " Two comes.", "start": 1.5, "end": 2.0}]}
    words = [{"word": " Two", "start": 1.5, "end": 1.7}, {"word": " comes.", "start": 1.7, "end": 2.0}]
    files = {
        "a.mp4": "",
        "a.srt": SRT,
        "b.mp4": "",
        "b.en.vtt": "WEBVTT\n\n00:01.000 --> 00:02.000\nOne is here.\n",
        "c.mp4": "",
        "c.json": json.dumps(whisper),
        "d.mp4": "",
        "d.json": json.dumps({"segments": [{**whisper["segments"][0], "words": words}]}),
        "e.mp4": "",
        "f.mp4": "",
        "f.de.srt": SRT,
        "f.srt": SRT,
    }
    found = read_all(Folder(str(write(tmp_path, files)), narrated=True))
    told = {
        m.key: m.utterances and [(u.text, u.start_s, u.end_s) for u in m.utterances] for m in media_of(found)
    }
    srt = [("One is here.", 1.0, 2.5), ("Two comes.", 3.0, 5.0)]
    assert told == {
        "a.mp4": srt,
        "b.mp4": [("One is here.", 1.0, 2.0)],
        "c.mp4": [("Two comes.", 1.5, 2.0)],
        "d.mp4": [("Two comes.", 1.5, 2.0)],
        "e.mp4": None,
        "f.mp4": srt,
    }
    (heard,) = [u for m in media_of(found) if m.key == "d.mp4" for u in m.utterances or ()]
    assert [word.start_s for word in heard.words] == [1.5, 1.7]


def test_what_lies_beside_and_cannot_be_read_costs_its_medium(tmp_path: Path) -> None:
    files = {
        "a.mp4": "",
        "a.json": "{",
        "b.mp4": "",
        "b.srt": "no times",
        "c.mp4": "",
        "c.de.srt": SRT,
        "c.en.srt": SRT,
        "d.mp4": "",
        "d.json": '{"segments": [{"text": "a", "start": "NaN", "end": 1}]}',
        "e.mp4": "",
        "e.json": "[1]",
        "f.mp4": "",
        "f.srt": SRT,
    }
    found = read_all(Folder(str(write(tmp_path, files)), narrated=True))
    assert [media.key for media in media_of(found)] == ["f.mp4"]
    assert reasons_of(found) == ["bad_annotation"] * 5


def test_a_name_that_is_no_text_costs_its_medium(tmp_path: Path) -> None:
    root = write(tmp_path / os.fsdecode(b"films-\xff"), {"a.mp4": "", "a.txt": "a"}).parent
    write(root, {os.fsdecode(b"b\xff.mp4"): "", "c\u3000\n.mp4": "", "c\u3000\n.txt": "c"})
    source = Folder(str(root))
    shards = [
        ShardTask.from_json(ShardTask(0, shard).to_json()).shard for shard in source.shards(64)
    ]  # as they travel
    found = [item for shard in shards for item in source.read(shard)]
    assert [media.key for media in media_of(found)] == ["c\u3000\n.mp4"]
    assert reasons_of(found) == ["bad_name", "bad_name"]
    to_table(Reject, [item for item in found if isinstance(item, Reject)])


def test_a_file_that_goes_after_the_listing_costs_itself(tmp_path: Path) -> None:
    source = Folder(str(write(tmp_path, {"a.png": jpeg(), "a.txt": "a", "b.png": jpeg(), "b.txt": "b"})))
    shards = source.shards(64)
    (tmp_path / "a.png").unlink()
    found = [item for shard in shards for item in source.read(shard)]
    assert [media.key for media in media_of(found)] == ["b.png"]
    assert reasons_of(found) == ["missing"]


def test_links_to_files_count_and_links_to_folders_do_not(tmp_path: Path) -> None:
    write(tmp_path, {"store/1": b"video", "films/a.txt": "a fox", "films/gone.txt": "x"})
    (tmp_path / "films/a.mp4").symlink_to(tmp_path / "store/1")
    (tmp_path / "films/gone.mp4").symlink_to(tmp_path / "store/2")
    (tmp_path / "films/round").symlink_to(tmp_path / "films")
    assert [media.key for media in media_of(read_all(Folder(str(tmp_path), "films")))] == ["films/a.mp4"]


def test_an_archive_that_moves_keeps_its_shards_and_one_that_changes_does_not(tmp_path: Path) -> None:
    one, two = (Folder(str(write(tmp_path / name, FILES)), "films").shards(64) for name in ("one", "two"))
    assert [shard.hash for shard in one] == [shard.hash for shard in two]
    write(tmp_path / "two", {"films/a.txt": "another caption"})
    changed = Folder(str(tmp_path / "two"), "films").shards(64)
    assert [a.hash == b.hash for a, b in zip(one, changed, strict=True)] == [False, True, True]
    assert [a.slot for a in one] == [b.slot for b in changed]


def test_files_that_come_later_make_shards_of_their_own_and_leave_the_others_as_they_are(
    tmp_path: Path,
) -> None:
    def names(shards: list[InputShard]) -> list[list[str]]:
        return [list(json.loads(shard.header)[1]) for shard in shards]

    source = Folder(str(write(tmp_path, {f"{n}.mp4": "" for n in range(0, 10, 2)})))
    first = source.shards(2)
    assert names(first) == [["0.mp4", "2.mp4"], ["4.mp4", "6.mp4"], ["8.mp4"]]
    some = [first[1].slot]
    assert sorted(names(source.shards_with(2, some))) == names(first)  # as a run that was stopped left it

    write(tmp_path, {"1.mp4": "", "3.mp4": "", "9.mp4": "", "new/a.mp4": ""})
    slots = [shard.slot for shard in first]
    grown = source.shards_with(2, slots)
    assert [shard.hash for shard in grown[:3]] == [shard.hash for shard in first]
    assert names(grown[3:]) == [["1.mp4", "3.mp4"], ["9.mp4"], ["a.mp4"]]

    write(tmp_path, {"0.mp4": "other"})
    (tmp_path / "8.mp4").unlink()
    changed = source.shards_with(2, slots)
    assert (changed[0].slot, changed[0].hash == first[0].hash) == (
        first[0].slot,
        False,
    )  # which ingest refuses
    assert names(changed) == [
        ["0.mp4", "2.mp4"],
        ["4.mp4", "6.mp4"],
        ["1.mp4", "3.mp4"],
        ["9.mp4"],
        ["a.mp4"],
    ]
    with pytest.raises(UserError, match="two runs at a time"):
        source.shards_with(2, [*slots, grown[0].slot.replace("2.mp4", "4.mp4")])


def test_a_folder_in_a_bucket_reads_as_one_on_disk(tmp_path: Path, s3_server: S3Server) -> None:
    root = s3_server.upload(write(tmp_path, FILES), "folder_forms")
    here, there = (read_all(Folder(where, "films")) for where in (str(tmp_path), root))
    assert [(m.uid, m.captions, m.payload) for m in media_of(here)] == [
        (m.uid, m.captions, m.payload) for m in media_of(there)
    ]
    assert reasons_of(here) == reasons_of(there)


def test_a_folder_without_media_or_without_itself_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no video or image lies below"):
        Folder(str(tmp_path)).shards(64)
    with pytest.raises(StorageError, match="not found"):
        Folder(str(tmp_path), "absent").shards(64)
