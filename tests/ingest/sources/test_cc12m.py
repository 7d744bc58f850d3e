"""CC12M in the three formats that img2dataset writes (tars also in test_tars), and the list beside them."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from infra.errors import UserError
from ingest.formats import caption_lists as caption_list
from ingest.records import Media
from ingest.source import Source
from ingest.sources.cc12m import CC12M, CC12MFiles, CC12MParquet
from tests.conftest import S3Server
from tests.ingest.media_files import jpeg, write_tar
from tests.ingest.sources.reading import media_of, read_all, reasons_of

SCHEMA = pa.schema([(name, pa.string()) for name in ("url", "caption", "key", "status", "error_message")])


def facts(number: int, **changes: Any) -> dict[str, Any]:
    known = {"url": f"http://x/{number}", "caption": f"still {number}", "key": f"{number:09}"}
    return {**known, "status": "success", "error_message": None, **changes}


def write_files(folder: Path, rows: list[dict[str, Any]]) -> None:
    """What `--output_format files` leaves: one folder, and a Parquet file that describes it."""
    (folder / "00000").mkdir(parents=True)
    for number, row in enumerate(rows):
        stem = folder / "00000" / row["key"]
        stem.with_suffix(".jpg").write_bytes(jpeg(level=10 + number))
        stem.with_suffix(".json").write_text(json.dumps(row))
        if row["caption"]:
            stem.with_suffix(".txt").write_text(row["caption"])
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), folder / "00000.parquet")


def write_parquet(path: Path, rows: list[dict[str, Any]], row_group: int = 100) -> None:
    """What `--output_format parquet` leaves: failed downloads have rows too, without an image."""
    path.parent.mkdir(parents=True, exist_ok=True)
    images = [
        {"jpg": jpeg(level=10 + n) if row["status"] == "success" else None} for n, row in enumerate(rows)
    ]
    table = [{**row, **image} for row, image in zip(rows, images, strict=True)]
    schema = SCHEMA.append(pa.field("jpg", pa.binary()))
    pq.write_table(pa.Table.from_pylist(table, schema=schema), path, row_group_size=row_group)


def write_tars(folder: Path, rows: list[dict[str, Any]]) -> None:
    members = {}
    for number, row in enumerate(rows):
        members[f"{row['key']}.jpg"] = jpeg(level=10 + number)
        members[f"{row['key']}.json"] = json.dumps(row).encode()
    write_tar(folder / "00000.tar", members)
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), folder / "00000.parquet")


def contents(source: Source) -> list[tuple[str, tuple[str, ...], bytes | None]]:
    return sorted((media.uid, media.captions, media.payload) for media in media_of(read_all(source)))


def test_the_three_formats_give_the_same_media(tmp_path: Path) -> None:
    rows = [facts(number) for number in range(70)]
    write_tars(tmp_path / "tars", rows)
    write_parquet(tmp_path / "parquet/00000.parquet", rows)
    write_files(tmp_path / "files", rows)
    told = contents(CC12M(str(tmp_path / "tars")))
    assert len(told) == 70
    assert contents(CC12MParquet(str(tmp_path / "parquet"))) == told
    assert contents(CC12MFiles(str(tmp_path / "files"))) == told


def test_rows_that_were_not_downloaded_say_why(tmp_path: Path) -> None:
    rows = [facts(0), facts(1, status="failed_to_download", error_message="404"), facts(2, caption=None)]
    write_parquet(tmp_path / "00000.parquet", rows)
    found = read_all(CC12MParquet(str(tmp_path)))
    assert [media.key for media in media_of(found)] == ["000000000"]
    assert reasons_of(found) == ["not_downloaded", "no_caption"]


def test_a_damaged_row_group_costs_its_rows(tmp_path: Path) -> None:
    path = tmp_path / "00000.parquet"
    write_parquet(path, [facts(number) for number in range(6)], row_group=2)
    column = pq.ParquetFile(path).metadata.row_group(1).column(5)
    assert column.path_in_schema == "jpg"
    data = bytearray(path.read_bytes())
    data[column.data_page_offset : column.data_page_offset + 40] = b"\xff" * 40
    path.write_bytes(data)
    found = read_all(CC12MParquet(str(tmp_path)))
    assert [media.key for media in media_of(found)] == [f"{number:09}" for number in (0, 1, 4, 5)]
    assert reasons_of(found) == ["damaged", "damaged"]


def test_a_file_that_cannot_be_read_is_one_reject(tmp_path: Path) -> None:
    write_parquet(tmp_path / "00000.parquet", [facts(0)])
    (tmp_path / "00001.parquet").write_bytes((tmp_path / "00000.parquet").read_bytes()[:-20])
    pq.write_table(pa.table({"other": [1]}), tmp_path / "00002.parquet")
    assert reasons_of(read_all(CC12MParquet(str(tmp_path)))) == ["truncated", "bad_columns"]


def test_files_of_a_sample_that_are_missing_or_broken_cost_that_sample(tmp_path: Path) -> None:
    write_files(tmp_path, [facts(number) for number in range(5)])
    (tmp_path / "00000/000000001.jpg").unlink()
    (tmp_path / "00000/000000002.txt").unlink()
    (tmp_path / "00000/000000003.json").write_text("{")
    found = read_all(CC12MFiles(str(tmp_path)))
    assert [media.key for media in media_of(found)] == ["000000000", "000000002", "000000004"]
    assert reasons_of(found) == ["no_image", "bad_json"]


@pytest.mark.parametrize("header", [b"", b"url\tcaption\n"])
def test_captions_come_from_the_list_by_address_where_the_download_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, header: bytes
) -> None:
    monkeypatch.setattr(caption_list, "_ROWS", 2)
    lines = [f'http://x/{number}\ta "still" {number}\n'.encode() for number in range(4)]
    (tmp_path / "cc12m.tsv").write_bytes(header + b"".join(lines))
    rows = [facts(number, caption=None) for number in (1, 2)]
    write_parquet(tmp_path / "images/00000.parquet", [rows[0], facts(9, caption=None)])
    write_parquet(tmp_path / "images/00001.parquet", rows[1:])
    found = read_all(CC12MParquet(str(tmp_path / "images"), "../cc12m.tsv"))
    assert [media.captions for media in media_of(found)] == [('a "still" 1',), ('a "still" 2',)]
    assert reasons_of(found) == ["no_caption"]


def test_folders_and_tables_in_a_bucket_read_as_on_disk(tmp_path: Path, s3_server: S3Server) -> None:
    rows = [facts(number) for number in range(40)]
    write_files(tmp_path / "files", rows)
    write_parquet(tmp_path / "parquet/00000.parquet", rows)
    root = s3_server.upload(tmp_path, "cc12m_forms")
    told = contents(CC12MFiles(str(tmp_path / "files")))
    assert contents(CC12MFiles(f"{root}/files")) == told
    assert contents(CC12MParquet(f"{root}/parquet")) == told


def test_an_archive_of_another_format_is_refused(tmp_path: Path) -> None:
    write_tars(tmp_path, [facts(0)])
    with pytest.raises(UserError, match=r"no \.parquet file with images"):
        CC12MParquet(str(tmp_path)).shards(64)
    with pytest.raises(UserError, match="no numbered folder"):
        CC12MFiles(str(tmp_path)).shards(64)
    assert all(isinstance(item, Media) for item in read_all(CC12M(str(tmp_path))))
