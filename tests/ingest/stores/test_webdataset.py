import io
import json
import tarfile
from dataclasses import replace
from pathlib import Path

from infra import objects
from ingest.records import Clip
from ingest.stores.ledger import Ledger
from ingest.stores.shards import parts_of, read_clips
from ingest.stores.webdataset import export_part, tar_of, tar_uri
from tests.ingest.clips import synthetic_clip, write_stream


def members(data: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}  # type: ignore[union-attr]


def test_a_clip_is_its_frames_in_order_its_text_and_its_facts() -> None:
    clip = replace(synthetic_clip(0), captions=("a red circle", "another"), frames=(b"one", b"two"))
    found = members(tar_of([clip]))
    assert list(found) == [f"{clip.uid}.{end}" for end in ("000.jpg", "001.jpg", "txt", "json")]
    assert found[f"{clip.uid}.001.jpg"] == b"two"
    assert found[f"{clip.uid}.txt"] == b"a red circle"
    facts = json.loads(found[f"{clip.uid}.json"])
    assert facts["media_uid"] == clip.media_uid
    assert [said["text"] for said in facts["transcripts"]] == [said.text for said in clip.transcripts]


def test_a_clip_without_a_caption_is_told_by_what_is_said() -> None:
    clip = replace(synthetic_clip(0), captions=())
    said = " ".join(utterance.text for utterance in clip.transcripts)
    assert members(tar_of([clip]))[f"{clip.uid}.txt"].decode() == said


def test_every_committed_clip_is_in_one_tar_and_a_second_export_writes_nothing(tmp_path: Path) -> None:
    store = str(tmp_path)
    write_stream(store, "narrated", 10)
    parts = parts_of(Ledger(store, "narrated").committed().values())
    assert all(export_part(store, "narrated", part) for part in parts)
    assert not any(export_part(store, "narrated", part) for part in parts)
    named = [members(objects.read_bytes(tar_uri(store, "narrated", part))) for part in parts]
    keys = [name.partition(".")[0] for tar in named for name in tar if name.endswith(".json")]
    clips: list[Clip] = read_clips(store, "narrated")
    assert keys == [clip.uid for clip in clips]
