"""What training reads of one archive, whether its frames are stored or decoded on the way. Real files, real Ray."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from infra.errors import UserError
from ingest.cluster.stored import StoredStream
from ingest.order.rows import Rows, UnitWork
from ingest.records import Clip, Media, stable_uid
from ingest.settings import Frames, Ingest
from ingest.source import Source
from ingest.sources.cc12m import CC12M
from ingest.sources.webvid import WebVid, WebVidTars
from ingest.stages.chain import ClipMaker
from ingest.stores.commit import ShardCommit, ShardPlace
from ingest.stores.ledger import Ledger
from ingest.stores.shards import parts_of, read_clips
from ingest.stores.webdataset import export_part
from tests.ingest.media_files import jpeg, write_tar
from tests.trainers.tiny import CAPTIONED, SYSTEM
from trainers.data.prepare import Prepare
from trainers.recipe import Pixels

FRAMES = Frames(candidates=8, short_side=32, memory_mb=2048)
PREPARE = Prepare(CAPTIONED, SYSTEM, Pixels(short_side=32, crop=16), seed=3)  # 4 frames a clip
STILLS = replace(PREPARE, stream=replace(CAPTIONED, name="stills", frames=1))


def write_noise(path: Path, seed: int) -> Path:
    """A video in which no frame is like another, so that a wrong one is found out."""
    path.parent.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(seed)
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=8, options={"g": "12", "bf": "2"})
        video.width, video.height, video.pix_fmt = 80, 48, "yuv420p"
        for _ in range(30):
            picture = generator.integers(0, 256, (6, 10, 3), np.uint8).repeat(8, 0).repeat(8, 1)
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(video.encode(None))
    return path


def write_archives(root: Path) -> list[Source]:
    """Three videos as files and two in a tar; a still in another."""
    rows = ["videoid,contentUrl,duration,page_dir,name"]
    for number in range(3):
        write_noise(root / f"files/videos/p/{number}.mp4", number)
        rows.append(f"{number},http://x,PT4S,p,film {number}")
    (root / "files/results_train.csv").write_text("\n".join(rows) + "\n")
    films = [write_noise(root / f"{number}.mp4", number).read_bytes() for number in (3, 4)]
    facts = {"caption": "c", "status": "success"}
    members = {f"{n}.mp4": film for n, film in enumerate(films)} | {
        f"{n}.json": json.dumps({**facts, "key": str(n)}).encode() for n in range(2)
    }
    write_tar(root / "tars/00000.tar", members)
    still = {"0.jpg": jpeg(40), "0.json": json.dumps({**facts, "key": "0"}).encode()}
    write_tar(root / "stills/00000.tar", still)
    return [WebVid(str(root / "files")), WebVidTars(str(root / "tars")), CC12M(str(root / "stills"))]


def write_store(sources: list[Source], store: str, frames: Frames) -> None:
    """All clips of the sources."""
    settings = Ingest(frames=frames)
    for source in sources:
        for shard in source.shards(64):
            place = ShardPlace(
                store, source.stream, shard.hash, shard.slot, source.name, shard.name, "settings", 2
            )
            make = ClipMaker(settings, source.narrated)
            commit = ShardCommit(place)
            for media in source.read(shard):
                assert isinstance(media, Media)
                commit.add(make(media))
            commit.finish()


@dataclass(frozen=True)
class Stores:
    """One archive, ingested in both ways."""

    root: Path
    raw: str
    reference: str


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Stores:
    root = tmp_path_factory.mktemp("archive")
    found = Stores(root, str(root / "raw"), str(root / "reference"))
    sources = write_archives(root)
    write_store(sources, found.raw, replace(FRAMES, store="raw"))
    write_store(sources, found.reference, replace(FRAMES, store="reference"))
    return found


def batches(
    store: str, kind: str, first_row: int = 0, prepare: Prepare = PREPARE
) -> list[dict[str, NDArray[Any]]]:
    """Two epochs of five videos, or ten of a still, as training gets them."""
    frames = replace(FRAMES, store=kind)  # type: ignore[arg-type]
    rows = Rows(seed=3, first=first_row, count=10 - first_row, unit=2)
    prepared = StoredStream(store, prepare.stream.name, frames)(rows, UnitWork(prepare.choice, prepare))
    return list(prepared.iter_batches(batch_size=2, batch_format="numpy"))


@pytest.mark.usefixtures("ray_local")
def test_references_give_the_batches_of_raw_frames_bit_for_bit_from_any_position(stores: Stores) -> None:
    assert {len(clip.frames) for clip in read_clips(stores.raw, "captioned")} == {8}
    assert {clip.frames for clip in read_clips(stores.reference, "captioned")} == {()}
    for prepare in (PREPARE, STILLS):
        raw = batches(stores.raw, "raw", prepare=prepare)
        reference = batches(stores.reference, "reference", prepare=prepare)
        assert len(raw) == len(reference) == 5
        for one, other in zip(raw, reference, strict=True):
            assert one.keys() == other.keys()
            assert all(np.array_equal(one[name], other[name]) for name in one)
            assert one["valid"].all()
            assert one["frames"].any()
    whole, later = batches(stores.raw, "raw"), batches(stores.reference, "reference", first_row=6)
    assert all(np.array_equal(a["frames"], b["frames"]) for a, b in zip(whole[3:], later, strict=True))


@pytest.mark.usefixtures("ray_local")
def test_only_the_frames_that_an_epoch_draws_are_delivered(stores: Stores) -> None:
    rows, clips = Rows(seed=3, first=0, count=10, unit=2), StoredStream(stores.raw, "captioned")
    whole = pa.concat_tables(clips(rows).iter_batches(batch_format="pyarrow"))
    chosen = pa.concat_tables(clips(rows, UnitWork(PREPARE.choice)).iter_batches(batch_format="pyarrow"))
    for full, few in zip(whole.to_pylist(), chosen.to_pylist(), strict=True):
        assert len(full["frames"]) == 8
        numbers = PREPARE.choice(full["uid"], full["epoch"], 8)
        assert few == {**full, "frames": [full["frames"][number] for number in numbers]}
    assert {len(frames) for frames in chosen["frames"].to_pylist()} == {4}


@pytest.mark.usefixtures("ray_local")
def test_a_medium_that_is_gone_keeps_its_place_and_is_not_valid(tmp_path: Path) -> None:
    film = write_noise(tmp_path / "files/videos/p/0.mp4", 0)
    other = write_noise(tmp_path / "files/videos/p/1.mp4", 1)
    rows = "videoid,contentUrl,duration,page_dir,name\n0,x,PT4S,p,a\n1,x,PT4S,p,b\n"
    (tmp_path / "files/results_train.csv").write_text(rows)
    store = str(tmp_path / "store")
    write_store([WebVid(str(tmp_path / "files"))], store, replace(FRAMES, store="reference"))
    film.unlink()
    other.write_bytes(other.read_bytes()[:-2000])
    frames = replace(FRAMES, store="reference")
    clips = pa.concat_tables(
        StoredStream(store, "captioned", frames).once(PREPARE.choice).iter_batches(batch_format="pyarrow")
    )
    assert clips["frames"].to_pylist() == [[], []]
    stream = StoredStream(store, "captioned", frames)(Rows(0, 0, 2, 2), UnitWork(PREPARE.choice, PREPARE))
    (batch,) = stream.iter_batches(batch_size=2)
    assert batch["position"].tolist() == [0, 1]
    assert batch["valid"].tolist() == [False, False]


@pytest.mark.usefixtures("ray_local")
def test_references_are_refused_where_frames_are_needed(stores: Stores) -> None:
    with pytest.raises(Exception, match=r"set ingest\.frames\.store to 'reference'"):
        batches(stores.reference, "jpeg")
    part = parts_of(Ledger(stores.reference, "captioned").committed().values())[0]
    with pytest.raises(UserError, match="holds references and no frames to export"):
        export_part(stores.reference, "captioned", part)


def test_what_cannot_be_found_again_is_refused_at_ingest(tmp_path: Path) -> None:
    still = Media(stable_uid("a"), "cc12m", "a", "image", f"{tmp_path}/0.parquet#a", payload=jpeg(40))
    (tmp_path / "0.parquet").write_bytes(b"PAR1")
    make = ClipMaker(Ingest(frames=replace(FRAMES, store="reference")), narrated=False)
    with pytest.raises(UserError, match=r"0\.parquet#a cannot be referenced: .* use 'jpeg' or 'raw' here"):
        make(still)
    (made,) = ClipMaker(Ingest(frames=replace(FRAMES, store="raw")), narrated=False)(still)
    assert isinstance(made, Clip)
