"""WebVid's three forms, read from real files."""

import json
from pathlib import Path

from ingest.records import Media, stable_uid
from ingest.sources.webvid import WebVid, WebVidTars, WebVidTSV
from tests.ingest.media_files import write_tar, write_video
from tests.ingest.sources.reading import media_of, read_all, reasons_of, write_list


def test_rows_of_the_results_become_media_with_one_caption(tmp_path: Path) -> None:
    header = "videoid,contentUrl,duration,page_dir,name"
    rows = ['21,u,PT1S,p_1,"a, quoted"', "22,u,PT1S,p_1,", '23,u,PT1S,p_2,"two\r\nlines"', "24"]
    write_list(tmp_path, "results_train.csv", header, *rows)
    found = read_all(WebVid(str(tmp_path)), rows_per_shard=2)
    first, third = media_of(found)
    assert (first.key, first.captions) == ("p_1/21", ("a, quoted",))
    assert first.uri == f"{tmp_path}/videos/p_1/21.mp4"
    assert first.uid == stable_uid("webvid", "p_1/21")
    assert third.captions == ("two\r\nlines",)
    assert reasons_of(found) == ["no_caption", "bad_row"]


def test_the_10m_release_has_other_columns_and_reads_the_same(tmp_path: Path) -> None:
    write_list(tmp_path, "results_10M_train.csv", "videoid,name,page_idx,page_dir,duration,contentUrl")
    write_list(
        tmp_path,
        "results_10M_train.csv",
        "videoid,name,page_idx,page_dir,duration,contentUrl",
        "21,a fox,3,p_1,PT5S,https://x",
    )
    (media,) = read_all(WebVid(str(tmp_path), "results_10M_train.csv"))
    assert isinstance(media, Media)
    assert (media.key, media.captions) == ("p_1/21", ("a fox",))


def test_the_published_tsv_lies_above_its_videos_and_is_read_by_position(tmp_path: Path) -> None:
    write_list(tmp_path / "meta_data", "webvid_train.tsv", "what\tever", "a fox\tp_1/21", "\tp_1/22", "a dog")
    source = WebVidTSV(str(tmp_path / "data/WebVid"))
    found = read_all(source)
    (fox,) = media_of(found)
    assert fox.uri == f"{tmp_path}/data/WebVid/train/p_1/21.mp4"
    assert (fox.uid, fox.captions) == (stable_uid("webvid", "p_1/21"), ("a fox",))
    assert reasons_of(found) == ["no_caption", "bad_row"]


def test_tars_of_video2dataset_give_what_was_downloaded_and_say_what_was_not(tmp_path: Path) -> None:
    video = write_video(tmp_path / "v.mp4", num_frames=2).read_bytes()
    good = json.dumps({"status": "success", "key": "0", "videoid": 7}).encode()
    failed = json.dumps({"status": "failed_to_download", "error_message": "404"}).encode()
    members = {
        "0000000_0.json": good,
        "0000000_1.txt": b"",
        "0000000_2.json": failed,
        "0000000_0.txt": b"a fox",
        "0000000_1.mp4": video,
        "0000000_0.mp4": video,
        "0000000_1.json": b'{"status": "success", "caption": "from json"}',
        "0000000_2.txt": b"never came",
        "0000000_3.txt": b"no video",
    }
    write_tar(tmp_path / "dataset/00000.tar", members)
    found = read_all(WebVidTars(str(tmp_path / "dataset")))
    assert {media.key: media.captions for media in media_of(found)} == {
        "0000000_0": ("a fox",),
        "0000000_1": ("from json",),
    }
    assert {media.payload for media in media_of(found)} == {video}
    assert sorted(reasons_of(found)) == ["no_video", "not_downloaded"]
