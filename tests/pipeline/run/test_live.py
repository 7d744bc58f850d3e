"""What `train --stream` reads of a recipe, and what it refuses."""

from dataclasses import replace
from pathlib import Path

import pytest

from infra.cpus import plan_cpus
from infra.errors import UserError
from infra.session import Session
from ingest.cluster.live import LiveStream
from ingest.stores.ledger import Ledger, Line
from pipeline.recipe import DataSource
from pipeline.recipes.tvtsv2 import tvtsv2_tiny
from pipeline.run.live import check_live, live_streams, set_aside
from tests.ingest.media_files import jpeg
from trainers.launch_settings import Launch


def test_a_stream_reads_all_its_sources_and_its_state_names_them(tmp_path: Path) -> None:
    recipe = tvtsv2_tiny()
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "0.jpg").write_bytes(jpeg(level=10))
    sources = tuple(DataSource("folder", "stills", name) for name in ("a", "b"))
    recipe = replace(
        recipe, data=replace(recipe.data, root=str(tmp_path), sources=sources), store=str(tmp_path / "store")
    )
    before = live_streams(recipe, ["stills"])[1]
    (tmp_path / "b/1.jpg").write_bytes(jpeg(level=20))
    streams, state = live_streams(recipe, ["stills"])
    (stream,) = streams.values()
    assert isinstance(stream, LiveStream)
    Ledger(stream.record, "stills").commit(
        Line("s", "0", "folder", "0", "", (), 2, 1, rejects={"probe/empty": 1})
    )
    assert set_aside([stream])[0].startswith("stills: 1 set aside (1 probe/empty); see ")
    assert len(stream.sources) == 2
    assert before.keys() == state.keys() == {"ledger/stills"}
    assert before != state
    with pytest.raises(UserError, match="no source of the recipe feeds the stream 'narrated'"):
        live_streams(recipe, ["narrated"])


def test_a_range_of_workers_is_refused() -> None:
    with pytest.raises(UserError, match=r"launch\.workers 2:4: with --stream the number of workers is fixed"):
        check_live([], Launch(workers="2:4"), plan_cpus(16, 2, 2), Session(16.0, 0.0, 1, True))
