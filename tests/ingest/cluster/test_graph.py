"""Ingest and the stream of clips on a real local Ray."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import ray.data

from infra import objects
from infra.errors import StorageError, UserError
from ingest.cluster.graph import _stage, ingest
from ingest.cluster.stored import StoredStream, export_webdataset
from ingest.order.rows import Rows
from ingest.plan import StreamSummary
from ingest.records import stable_uid
from ingest.settings import Frames, Ingest, Pool, Pools, Sentences, Speech
from ingest.source import Source
from ingest.sources.cc12m import CC12M
from ingest.sources.folder import Folder
from ingest.sources.webvid import WebVid
from ingest.sources.yt_temporal import YTTemporal
from ingest.stages.shard import Listener, task_rows
from ingest.stores.ledger import Ledger
from ingest.stores.quarantine import read_rejects
from ingest.stores.shards import parts_of, read_clips
from ingest.tally import StageStands
from tests.conftest import S3Server
from tests.ingest.archives import SENTENCES, write_cc12m, write_webvid, write_yt_temporal
from tests.ingest.clips import write_stream
from tests.ingest.media_files import jpeg
from tests.ingest.speech_model import write_random_whisper

pytestmark = pytest.mark.usefixtures("ray_local")
BROKEN = {
    "probe/empty": 1,
    "probe/no_video": 1,
    "probe/not_media": 1,
    "probe/truncated": 1,
    "probe/wrong_length": 1,
}


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Archives in the three layouts: 8 captioned rows (5 broken), 5 stills, 3 narrated (1 without transcript)."""
    root = tmp_path_factory.mktemp("raw")
    write_webvid(root / "webvid", num_videos=3, broken=True)
    write_cc12m(root / "cc12m", num_images=5)
    write_yt_temporal(root / "yt_temporal", annotated=2, unannotated=1)
    return root


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Ingest:
    return ingest_settings(str(write_random_whisper(tmp_path_factory.mktemp("whisper") / "random.pt")))


def ingest_settings(model: str) -> Ingest:
    """Small shards; one utterance makes a clip, since a random model says how many there are."""
    return Ingest(
        narrated=Sentences(transcripts=1),
        rows_per_shard=3,
        row_group=2,
        frames=Frames(candidates=8, short_side=32, memory_mb=2048),
        speech=Speech(model=model, temperatures=(0.0,), no_speech=1.1),
    )


def sources(root: str) -> tuple[Source, ...]:
    return (
        WebVid(objects.join(root, "webvid")),
        CC12M(objects.join(root, "cc12m")),
        YTTemporal(objects.join(root, "yt_temporal")),
    )


def contents(store: str) -> dict[str, bytes]:
    return {uri.removeprefix(store): objects.read_bytes(uri) for uri in objects.list_files(store)}


@pytest.fixture(scope="module")
def store(raw: Path, settings: Ingest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The store of one undisturbed run."""
    store = str(tmp_path_factory.mktemp("store"))
    stands: list[StreamSummary] = []
    watched: list[Sequence[StageStands]] = []
    summary = ingest(sources(str(raw)), settings, store, stands.append, watched.append)
    captioned, stills, narrated = summary.streams
    assert (captioned.shards_total, captioned.shards_written, captioned.num_media) == (3, 3, 8)
    assert (captioned.num_clips, captioned.rejects) == (3, BROKEN)
    assert (stills.num_media, stills.num_clips, stills.rejects) == (5, 5, {})
    assert (narrated.num_media, narrated.rejects) == (3, {})
    assert [s.shards_written for s in stands if s.stream == "captioned"] == [0, 1, 2, 3]
    speech, decode = watched[-1]
    assert (speech.stage, speech.at_work, speech.waiting, speech.num_media) == ("speech", 0, 0, 3)
    assert (decode.stage, decode.at_work, decode.waiting, decode.num_media) == ("decode", 0, 0, 16)
    assert (decode.num_clips, decode.num_rejects) == (8 + narrated.num_clips, 5)
    return store


def test_each_broken_file_is_in_quarantine_and_nothing_else(store: str) -> None:
    rejects = {reject.uid: reject.reason for reject in read_rejects(store, "captioned")}
    assert rejects == {
        stable_uid("webvid", f"p/{name}"): reason
        for name, reason in {
            "truncated": "truncated",
            "zero_bytes": "empty",
            "sound_only": "no_video",
            "not_a_video": "not_media",
            "overstated_length": "wrong_length",
        }.items()
    }
    assert read_rejects(store, "stills") == read_rejects(store, "narrated") == []


def test_clips_hold_their_texts_and_frames(store: str) -> None:
    captioned = {clip.captions[0]: clip for clip in read_clips(store, "captioned")}
    assert set(captioned) == {f"caption, number {n}" for n in range(3)}
    assert {len(clip.frames) for clip in captioned.values()} == {8}
    assert {len(clip.frames) for clip in read_clips(store, "stills")} == {1}
    by_origin = {clip.transcripts[0].origin for clip in read_clips(store, "narrated")}
    assert by_origin == {"provider", "whisper/random"}
    provided = [
        c.transcripts[0].text for c in read_clips(store, "narrated") if c.transcripts[0].origin == "provider"
    ]
    assert Counter(provided) == dict.fromkeys(SENTENCES, 2)


def test_running_again_does_nothing_and_says_so(raw: Path, settings: Ingest, store: str) -> None:
    before = contents(store)
    summary = ingest(sources(str(raw)), settings, store)
    assert summary.nothing_to_do
    assert [stream.shards_skipped for stream in summary.streams] == [3, 1, 1]
    assert summary.streams[0].rejects == BROKEN
    assert contents(store) == before


def test_an_s3_archive_into_an_s3_store_gives_the_same_clips(
    raw: Path, settings: Ingest, store: str, s3_server: S3Server
) -> None:
    for path in (path for path in raw.rglob("*") if path.is_file()):
        objects.write_bytes(s3_server.uri("ingest", "raw", str(path.relative_to(raw))), path.read_bytes())
    remote = s3_server.uri("ingest", "store")
    ingest(sources(s3_server.uri("ingest", "raw")), settings, remote)
    for stream in ("captioned", "stills", "narrated"):
        here, there = read_clips(store, stream), read_clips(remote, stream)
        assert [replace(clip, uri="") for clip in there] == [replace(clip, uri="") for clip in here]
    rows = list(StoredStream(remote, "captioned")(Rows(0, 0, 4, 2)).iter_rows())
    assert [row["position"] for row in rows] == [0, 1, 2, 3]


def test_files_that_come_to_a_folder_are_added_and_nothing_else_is_made_anew(
    settings: Ingest, tmp_path: Path
) -> None:
    def write(*names: str) -> None:
        for name in names:
            (tmp_path / f"{name}.jpg").write_bytes(jpeg(level=ord(name)))
            (tmp_path / f"{name}.txt").write_text(name)

    store = str(tmp_path / ".store")
    write("a", "c", "e", "g")
    ingest([Folder(str(tmp_path))], settings, store)
    before = contents(store)
    write("b", "f")
    (added,) = ingest([Folder(str(tmp_path))], settings, store).streams
    assert (added.shards_skipped, added.shards_written, added.num_clips) == (2, 1, 6)
    assert before.items() < contents(store).items()
    assert sorted(clip.captions[0] for clip in read_clips(store, "captioned")) == list("abcefg")


def test_other_settings_and_other_content_are_refused(
    raw: Path, settings: Ingest, store: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="made with other ingest settings"):
        ingest(sources(str(raw)), replace(settings, frames=Frames(short_side=64)), store)
    changed = write_webvid(tmp_path, num_videos=1)
    with pytest.raises(UserError, match="rows 0-2 of webvid with other content"):
        ingest([changed], settings, store)


def test_pools_that_the_cluster_cannot_hold_are_refused_before_anything_starts(
    raw: Path, settings: Ingest, tmp_path: Path
) -> None:
    asked = replace(settings, pools=Pools(decode=Pool(num_cpus=3, min_actors=2)))
    with pytest.raises(UserError, match="starts 2 actors of 3 CPUs each and the cluster has room for 1"):
        ingest(sources(str(raw)), asked, str(tmp_path))
    assert not list(tmp_path.iterdir())


def test_ray_data_takes_a_stage_with_gpus_and_memory(settings: Ingest) -> None:
    """It refuses whole blocks as batches there; running needs GPUs, being planned does not."""
    pool = Pool(min_actors=1, max_actors=1, num_cpus=1.0, num_gpus=0.5, memory_mb=100)
    tasks = ray.data.from_arrow(task_rows(["{}"], [None]))
    assert _stage(tasks, Listener((), settings), None, pool, num_tasks=1)


def test_a_store_that_fails_ends_the_run_with_its_sentence(
    raw: Path, settings: Ingest, s3_server: S3Server
) -> None:
    with pytest.raises(StorageError, match="the bucket does not exist"):
        ingest(sources(str(raw))[:1], settings, "s3://absent-bucket/store")


def test_what_a_worker_says_in_one_sentence_reaches_the_user(
    raw: Path, settings: Ingest, tmp_path: Path
) -> None:
    speech = replace(settings.speech, model=str(tmp_path / "absent.pt"))
    with pytest.raises(UserError, match=r"speech model .*absent\.pt: no such file"):
        ingest(sources(str(raw))[2:], replace(settings, speech=speech), str(tmp_path / "store"))


def test_the_stream_has_every_row_once_an_epoch_in_whole_units_from_any_position(tmp_path: Path) -> None:
    clips = write_stream(str(tmp_path), "a", 90, per_shard=24, row_group=4)

    def read(first_row: int, num_rows: int) -> list[tuple[int, int, str]]:
        stream = StoredStream(str(tmp_path), "a")(Rows(3, first_row, num_rows, 6))
        units = list(stream.iter_batches(batch_size=None, batch_format="pyarrow"))
        assert {unit.num_rows for unit in units} == {6}
        assert "->StreamingRepartition" in stream.stats()  # no stage of its own
        return [(r["position"], r["epoch"], r["uid"]) for unit in units for r in unit.to_pylist()]

    rows = read(0, 180)
    assert [position for position, _, _ in rows] == list(range(180))
    for epoch in (0, 1):
        seen = Counter(uid for _, e, uid in rows if e == epoch)
        assert seen == Counter(clip.uid for clip in clips)
    assert read(78, 60) == rows[78:138]


def test_stored_clips_come_in_stored_order(store: str) -> None:
    uids = [row["uid"] for row in StoredStream(store, "stills").once().iter_rows()]
    assert uids == [clip.uid for clip in read_clips(store, "stills")]


def test_every_shard_is_exported_as_a_tar_once(store: str) -> None:
    parts = parts_of(Ledger(store, "stills").committed().values())
    assert set(export_webdataset(store, "stills", parts)) == {True}
    assert set(export_webdataset(store, "stills", parts)) == {False}
    tars = objects.list_files(objects.join(store, "stills", "webdataset"))
    parts = objects.list_files(objects.join(store, "stills", "shards"))
    assert [Path(tar).stem for tar in tars] == [Path(part).stem for part in parts]
    for tar in tars:
        objects.remove(tar)


def test_a_stream_without_clips_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no clips; run `reelscript ingest`"):
        StoredStream(str(tmp_path), "a")(Rows(0, 0, 4, 2))
    with pytest.raises(ValueError, match="5 rows are not whole units of 2"):
        Rows(0, 0, 5, 2)
