"""Shards, ledger and quarantine: what is read is what was written."""

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from infra import objects
from infra.errors import StorageError
from ingest.order.row_groups import Order, row_groups
from ingest.order.windows import read_window
from ingest.records import VERSION_KEY, Clip, Reject, Word, from_table, to_table
from ingest.stores.commit import ShardCommit, ShardPlace
from ingest.stores.ledger import Ledger
from ingest.stores.quarantine import read_rejects, write_rejects
from ingest.stores.shards import PartWriter, part_uri, parts_of, read_clips
from tests.ingest.clips import synthetic_clip, write_stream


def test_a_stream_read_back_equals_what_was_written(tmp_path: Path) -> None:
    clips = write_stream(str(tmp_path), "a", 30)
    assert sorted(read_clips(str(tmp_path), "a"), key=lambda c: c.uid) == sorted(clips, key=lambda c: c.uid)
    assert len(read_clips(str(tmp_path), "a", limit=7)) == 7


def test_words_and_labels_survive_the_table() -> None:
    said = replace(synthetic_clip(1).transcripts[0], words=(Word("clip", 0.0), Word("1", 0.5, 0.7)))
    clip = replace(synthetic_clip(1), label="x", transcripts=(said,), frames=())
    assert from_table(Clip, to_table(Clip, [clip])) == [clip]


def test_the_same_clips_give_the_same_names_and_bytes(tmp_path: Path) -> None:
    def write(folder: str) -> dict[str, bytes]:
        writer = PartWriter(folder, "a", "hash", row_group=4, max_part_bytes=100_000)
        for number in range(20):
            writer.add(synthetic_clip(number))
        return {part.name: objects.read_bytes(part_uri(folder, "a", part.name)) for part in writer.finish()}

    first = write(str(tmp_path / "x"))
    assert first == write(str(tmp_path / "y"))
    assert list(first) == [f"part-hash-{number}.parquet" for number in range(len(first))]
    assert len(first) > 1


def test_images_are_stored_as_they_are_and_text_is_packed(tmp_path: Path) -> None:
    write_stream(str(tmp_path), "a", 4)
    part = parts_of(Ledger(str(tmp_path), "a").committed().values())[0]
    group = pq.ParquetFile(part_uri(str(tmp_path), "a", part.name)).metadata.row_group(0)
    packed = {group.column(i).path_in_schema: group.column(i).compression for i in range(group.num_columns)}
    assert packed.pop("frames.list.element") == "UNCOMPRESSED"
    assert set(packed.values()) == {"ZSTD"}


def test_a_shard_counts_only_with_its_line(tmp_path: Path) -> None:
    store = str(tmp_path)
    place = ShardPlace(store, "a", "hash", "slot", "synthetic", "name", "settings", row_group=4)
    reject = Reject("uid", "probe", "empty", "zero bytes", "synthetic", "uri")
    ShardCommit(place).add([synthetic_clip(n) for n in range(4)])  # and the worker dies
    assert read_clips(store, "a") == []
    commit = ShardCommit(place)
    commit.add([synthetic_clip(1), synthetic_clip(2)])
    commit.add([reject])
    line = commit.finish()
    assert (line.num_media, line.num_clips, line.rejects) == (2, 2, {"probe/empty": 1})
    assert len(read_clips(store, "a")) == 2
    assert read_rejects(store, "a") == [reject]
    assert Ledger(store, "a").committed() == {"hash": line}


def test_a_row_of_the_quarantine_tells_what_why_which_bytes_and_how_to_try_again(tmp_path: Path) -> None:
    reject = Reject("uid", "probe", "empty", "zero bytes", "synthetic", "uri", "hash of the bytes")
    write_rejects(str(tmp_path), "a", "shard", [reject])
    (row,) = pq.read_table(tmp_path / "a/quarantine/part-shard.parquet").to_pylist()
    assert row == {**vars(reject), "command": "reelscript quarantine RECIPE --only uid"}


def test_the_digest_names_the_state_of_the_ledger(tmp_path: Path) -> None:
    write_stream(str(tmp_path / "x"), "a", 12)
    write_stream(str(tmp_path / "y"), "a", 12)
    assert Ledger(str(tmp_path / "x"), "a").digest() == Ledger(str(tmp_path / "y"), "a").digest()
    write_stream(str(tmp_path / "y"), "a", 24)
    assert Ledger(str(tmp_path / "x"), "a").digest() != Ledger(str(tmp_path / "y"), "a").digest()


def test_another_version_is_refused_by_both_names(tmp_path: Path) -> None:
    table = to_table(Clip, [synthetic_clip(1)]).replace_schema_metadata({VERSION_KEY: b"7"})
    with pytest.raises(ValueError, match="version 7, this Reelscript reads version 1"):
        from_table(Clip, table)
    objects.write_bytes(str(tmp_path / "a/ledger/x.json"), b'{"version": 9}')
    with pytest.raises(StorageError, match=r"x\.json: not a ledger line .*version 9"):
        Ledger(str(tmp_path), "a").committed()


def test_a_damaged_row_group_keeps_its_places_as_invalid_rows(tmp_path: Path) -> None:
    store = str(tmp_path)
    write_stream(store, "a", 24)
    parts = parts_of(Ledger(store, "a").committed().values())
    objects.write_bytes(part_uri(store, "a", parts[0].name), b"PAR1 not any more PAR1")
    order = Order(row_groups(parts), seed=0)
    table = pa.concat_tables([read_window(store, "a", window) for window in order.windows(0, 24)])
    assert table["position"].to_pylist() == list(range(24))
    valid = table["valid"].to_pylist()
    assert valid.count(False) == 12
    assert [bool(uid) for uid in table["uid"].to_pylist()] == valid


def test_a_missing_part_is_an_error_and_no_invalid_rows(tmp_path: Path) -> None:
    store = str(tmp_path)
    write_stream(store, "a", 12)
    part = parts_of(Ledger(store, "a").committed().values())[0]
    objects.remove(part_uri(store, "a", part.name))
    order = Order(row_groups([part]), seed=0)
    with pytest.raises(StorageError, match="not found"):
        read_window(store, "a", next(order.windows(0, 4)))


def test_a_row_group_of_large_frames_holds_fewer_clips(tmp_path: Path) -> None:
    writer = PartWriter(str(tmp_path), "a", "hash", row_group=4)
    for number in range(5):
        writer.add(replace(synthetic_clip(number), frames=(bytes(11 << 20),)))
    assert [part.row_groups for part in writer.finish()] == [(3, 2)]
