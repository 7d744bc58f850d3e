"""Clips straight from their sources on a real local Ray: the stored ones, in an order of their own."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from infra import objects
from infra.cpus import plan_cpus
from infra.errors import UserError
from infra.session import start
from infra.tracking import tracking_for
from ingest.cluster.graph import ingest
from ingest.cluster.live import LiveStream, check_room
from ingest.order.rows import Rows, UnitWork
from ingest.records import Clip
from ingest.settings import Frames, Ingest, Sentences
from ingest.source import Source
from ingest.stores.quarantine import read_rejects
from ingest.stores.shards import read_clips
from tests.ingest.archives import write_webvid, write_yt_temporal
from tests.tracker import lay_database
from tests.trainers.tiny import training
from trainers.cluster.job import StageJob
from trainers.cluster.launch import ClipStream, train_stage
from trainers.data.frame_choice import FrameChoice

pytestmark = pytest.mark.usefixtures("ray_local")
SETTINGS = Ingest(
    narrated=Sentences(transcripts=1),
    rows_per_shard=1,
    frames=Frames(candidates=8, short_side=32, memory_mb=2048),
)
CHOICE = FrameChoice(4, seed=3)
Row = dict[str, Any]


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> tuple[Source, Source]:
    """Input shards of one video each: eight captioned ones, of which five are broken, and two narrated ones."""
    root = tmp_path_factory.mktemp("raw")
    return (
        write_webvid(root / "webvid", num_videos=3, broken=True),
        write_yt_temporal(root / "yt_temporal", annotated=2),
    )


@pytest.fixture(scope="module")
def store(sources: tuple[Source, Source], tmp_path_factory: pytest.TempPathFactory) -> str:
    """What an ingest of them stores."""
    store = str(tmp_path_factory.mktemp("store"))
    ingest(sources, SETTINGS, store)
    return store


def read(stream: LiveStream, first_row: int, num_rows: int) -> list[Row]:
    """These rows, delivered in units of two."""
    dataset = stream(Rows(3, first_row, num_rows, 2), UnitWork(CHOICE, tasks=1))
    units = list(dataset.iter_batches(batch_size=None, batch_format="pyarrow"))
    assert {unit.num_rows for unit in units} == {2}
    rows: list[Row] = pa.concat_tables(units).to_pylist()
    assert [row["position"] for row in rows] == list(range(first_row, first_row + num_rows))
    return rows


def check_epochs(rows: Sequence[Row], stored: Sequence[Clip]) -> None:
    """Two epochs, each with every stored clip and the frames that it draws, in two orders."""
    clips, orders = {clip.uid: clip for clip in stored}, []
    for epoch in (0, 1):
        found = [row for row in rows if row["epoch"] == epoch]
        orders.append([row["uid"] for row in found])
        assert Counter(orders[-1]) == Counter(clip.uid for clip in stored)
        for row in found:
            clip = clips[row["uid"]]
            numbers = CHOICE(clip.uid, epoch, len(clip.frames))
            assert row["frames"] == [clip.frames[number] for number in numbers]
            assert [said["text"] for said in row["transcripts"]] == [said.text for said in clip.transcripts]
            assert row["valid"]
    assert orders[0] != orders[1]


def test_an_epoch_of_narrated_videos_has_the_clips_of_an_ingest(
    sources: tuple[Source, Source], store: str, tmp_path: Path
) -> None:
    live = LiveStream(str(tmp_path), "narrated", sources[1:], SETTINGS)
    assert isinstance(live, ClipStream)
    stored = read_clips(store, "narrated")
    check_epochs(read(live, 0, 2 * len(stored)), stored)


def test_it_goes_on_from_any_row_with_what_is_known_and_without(
    sources: tuple[Source, Source], store: str, tmp_path: Path
) -> None:
    live = LiveStream(str(tmp_path), "captioned", sources[:1], SETTINGS)
    rows = read(live, 0, 6)
    check_epochs(rows, read_clips(store, "captioned"))
    assert read(live, 4, 2) == rows[4:]
    (record,) = (tmp_path / "captioned/live").iterdir()
    assert set(read_rejects(str(record), "captioned")) == set(read_rejects(store, "captioned"))
    for uri in objects.list_files(str(record)):
        objects.remove(uri)
    assert read(live, 4, 2) == rows[4:]


def test_sources_without_a_clip_are_told(tmp_path: Path) -> None:
    broken = write_webvid(tmp_path / "raw", num_videos=0, broken=True)
    live = LiveStream(str(tmp_path), "captioned", (broken,), SETTINGS)
    with pytest.raises(Exception, match="none of its 5 input shards gives a clip"):
        read(live, 0, 2)


def test_a_stage_trains_on_live_streams(sources: tuple[Source, Source], tmp_path: Path) -> None:
    settings = replace(SETTINGS, narrated=Sentences(transcripts=4))
    session, recipe = start(), training(4, workers=1, checkpoint_every=2)
    live = {s.stream: LiveStream(str(tmp_path / "store"), s.stream, (s,), settings) for s in sources}
    resources = plan_cpus(session.num_cpus, 1, len(live))
    check_room(list(live.values()), resources, 1, 0)
    lay_database(tmp_path)
    run = tracking_for(str(tmp_path)).start_run("test", params={"seed": 0})
    job = StageJob(recipe, 0, str(tmp_path / "runs" / "run"), run, lineage={"commit": "none"})
    trained = train_stage(job, live, resources, replace(session, num_nodes=1))
    assert trained.step == 4


def test_workers_that_would_starve_the_actors_are_refused_with_the_numbers(
    sources: tuple[Source, Source], tmp_path: Path
) -> None:
    live = [LiveStream(str(tmp_path), source.stream, (source,), SETTINGS) for source in sources]
    total = start().num_cpus
    workers = int(total) - 1
    wanted = rf"{workers} training workers take {workers} CPUs .*, 2 must be left .* cluster has {total:g};"
    with pytest.raises(UserError, match=wanted):
        check_room(live, plan_cpus(total, workers, 2), workers, 0)
