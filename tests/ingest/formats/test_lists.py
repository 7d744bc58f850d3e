"""Lists become shards of whole rows, and a broken row costs itself."""

from pathlib import Path

import pytest

from infra.errors import UserError
from ingest.formats.lists import ListFile, list_uri
from ingest.source import inside
from ingest.sources.webvid import WebVid
from tests.conftest import S3Server
from tests.ingest.sources.reading import media_of, read_all, reasons_of, write_list

HEADER = "videoid,contentUrl,duration,page_dir,name"


def captions(folder: Path, *rows: str | bytes, size: int = 2) -> tuple[list[str], list[str]]:
    """Captions and reasons of a results CSV with these rows."""
    write_list(folder, "results_train.csv", HEADER, *rows)
    found = read_all(WebVid(str(folder)), rows_per_shard=size)
    return [media.captions[0] for media in media_of(found)], reasons_of(found)


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


@pytest.mark.parametrize("size", [1, 2, 64])
def test_an_open_quote_does_not_swallow_the_rows_after_it(tmp_path: Path, size: int) -> None:
    rows = [
        '1,u,d,p,"never closed',
        "2,u,d,p,two",
        '3,u,d,p,"a, quoted"',
        '4,u,d,p,"two\r\nlines"',
        "5,u,d,p,5",
    ]
    told, reasons = captions(tmp_path, *rows, size=size)
    assert told == ["two", "a, quoted", "two\r\nlines", "5"]
    assert reasons == ["bad_row"]


def test_an_open_quote_in_the_last_row_costs_that_row(tmp_path: Path) -> None:
    assert captions(tmp_path, "1,u,d,p,one", '2,u,d,p,"open') == (["one"], ["bad_row"])


def test_a_quote_inside_a_plain_cell_is_a_letter(tmp_path: Path) -> None:
    assert captions(tmp_path, '1,u,d,p,a 12" ruler', "2,u,d,p,two") == (['a 12" ruler', "two"], [])


def test_bad_bytes_cost_their_row(tmp_path: Path) -> None:
    rows = [
        b"1,u,d,p,nul\0byte",
        b"2,u,d,p,two",
        b"3",
        b",u,d,p,no id",
        b'4,u,d,p,"x"y',
        b"5,u,d,../../etc,five",
    ]
    told, reasons = captions(tmp_path, *rows, b"6,u,d,p,\xff\xfe is shown as it can be")
    assert told == ["two", "\ufffd\ufffd is shown as it can be"]
    assert reasons == ["bad_row"] * 5


def test_a_row_of_megabytes_costs_itself_and_a_line_without_end_is_not_held(tmp_path: Path) -> None:
    rows = [f"1,u,d,p,{'long ' * 100_000}", "2,u,d,p,two", f"3,u,d,p,{'x' * (9 << 20)}", "4,u,d,p,four"]
    assert captions(tmp_path, *rows) == (["two", "four"], ["bad_row", "bad_row"])


def test_blank_lines_are_no_rows(tmp_path: Path) -> None:
    assert captions(tmp_path, "", "1,u,d,p,one", "", "", "2,u,d,p,two", "") == (["one", "two"], [])


def test_a_list_without_its_columns_is_refused_by_name(tmp_path: Path) -> None:
    write_list(tmp_path, "results_train.csv", "videoid,caption", "1,x")
    with pytest.raises(UserError, match=r"results_train\.csv: no column page_dir, name; its header is"):
        WebVid(str(tmp_path)).shards(64)


def test_a_list_without_rows_is_refused(tmp_path: Path) -> None:
    write_list(tmp_path, "results_train.csv", HEADER)
    with pytest.raises(UserError, match="the list has no rows"):
        WebVid(str(tmp_path)).shards(64)


def test_a_list_in_a_bucket_reads_as_one_on_disk(tmp_path: Path, s3_server: S3Server) -> None:
    write_list(tmp_path, "results_train.csv", HEADER, *(f"{n},u,d,p,caption {n}" for n in range(10)))
    root = s3_server.upload(tmp_path, "lists", "webvid")
    here, there = (read_all(WebVid(str(where)), rows_per_shard=4) for where in (tmp_path, root))
    assert [media.uid for media in media_of(there)] == [media.uid for media in media_of(here)]
    assert media_of(there)[3].uri == f"{root}/videos/p/3.mp4"


def test_a_list_may_lie_above_its_archive() -> None:
    assert list_uri("s3://b/data/WebVid", "../../meta_data/l.tsv") == "s3://b/meta_data/l.tsv"
    assert list_uri("/data/WebVid/", "results.csv") == "/data/WebVid/results.csv"


def test_a_key_that_leads_out_of_the_archive_is_none() -> None:
    assert inside("p/1.mp4")
    assert not any(inside(key) for key in ("", "/etc/passwd", "../x", "a/../../x", "x" * 2000))
