"""What was set aside is counted, tried again one by one, and all at once."""

from dataclasses import replace
from pathlib import Path

import pytest

from infra.errors import UserError
from ingest.plan import ShardTask
from ingest.records import Clip, Reject, stable_uid
from ingest.settings import Frames, Ingest
from ingest.stages.shard import Maker, task_rows
from ingest.stores.ledger import Ledger
from ingest.stores.shards import read_clips
from pipeline.quarantine import (
    forget_shards,
    outcome_lines,
    quarantine,
    set_aside,
    shards_with_rejects,
    table,
    try_again,
)
from pipeline.recipe import Data, DataSource, Recipe
from pipeline.recipes.tvtsv2 import tvtsv2_tiny
from pipeline.workspace import open_source
from tests.ingest.archives import write_webvid
from tests.ingest.media_files import write_video


def ingested(root: Path) -> Recipe:
    """Three videos, one of them absent, and five broken ones; in shards of four rows."""
    write_webvid(root / "raw/webvid", broken=True)
    (root / "raw/webvid/videos/p/1.mp4").unlink()
    sources = (DataSource("webvid", "captioned", "webvid", "results_train.csv"),)
    recipe = replace(
        tvtsv2_tiny(),
        data=Data(str(root / "raw"), sources),
        ingest=Ingest(frames=Frames(candidates=4, short_side=32), rows_per_shard=4),
        store=str(root / "store"),
        output=str(root / "output"),
    )
    run(recipe)
    return recipe


def run(recipe: Recipe) -> None:
    """What is not committed, by the hand that the decoding actors lend."""
    (source,) = (open_source(source, recipe.data.root) for source in recipe.data.sources)
    make = Maker((source,), recipe.ingest, recipe.store)
    committed = Ledger(recipe.store, source.stream).committed()
    for shard in source.shards(recipe.ingest.rows_per_shard):
        if shard.hash not in committed:
            list(make(task_rows([ShardTask(0, shard).to_json()], [None])))


def test_rejects_are_counted_tried_again_and_become_clips_once(tmp_path: Path) -> None:
    recipe = ingested(tmp_path)
    aside = {item.reason: item for item in set_aside(recipe)}
    assert aside["fetch/missing"].count == 1
    assert sum(item.count for item in aside.values()) == 6
    assert table(list(aside.values())).row_count == len(aside)

    gone = aside["fetch/missing"].example
    before, now = try_again(recipe, gone.uid)
    assert before == gone
    assert [item.reason for item in now if isinstance(item, Reject)] == ["missing"]
    write_video(tmp_path / "raw/webvid/videos/p/1.mp4")
    before, now = try_again(recipe, gone.uid)
    assert [isinstance(item, Clip) for item in now] == [True]
    assert list(outcome_lines(before, now))[-1] == "now   a clip of 5.0 s with 4 frames"
    assert len(read_clips(recipe.store, "captioned")) == 2

    assert shards_with_rejects(recipe, ["no_such_reason"]) == {}
    holders = shards_with_rejects(recipe, ["missing"])
    assert [len(lines) for lines in holders.values()] == [1]
    forget_shards(recipe, holders)
    run(recipe)
    clips = read_clips(recipe.store, "captioned")
    assert len({clip.uid for clip in clips}) == len(clips) == 3
    assert sum(item.count for item in set_aside(recipe)) == 5


def test_the_verb_shows_reasons_and_how_to_try_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = ingested(tmp_path)
    quarantine(recipe, "reelscript quarantine mine --store 'my store'", None, False, ())
    shown = capsys.readouterr().out
    assert "fetch/missing" in shown
    example = set_aside(recipe)[0].example.uid
    assert f"One again  reelscript quarantine mine --store 'my store' --only {example}\n" in shown
    assert "All again  reelscript quarantine mine --store 'my store' --retry\n" in shown
    quarantine(recipe, "reelscript quarantine mine", set_aside(recipe)[0].example.uid, False, ())
    assert "now " in capsys.readouterr().out
    quarantine(recipe, "reelscript quarantine mine", None, True, ["no_such_reason"])
    assert "0 input shards" in capsys.readouterr().out


@pytest.mark.usefixtures("ray_local")
def test_a_file_repaired_in_place_brings_exactly_its_clip_when_all_are_tried_again(tmp_path: Path) -> None:
    recipe = ingested(tmp_path)
    before = read_clips(recipe.store, "captioned")
    write_video(tmp_path / "raw/webvid/videos/p/zero_bytes.mp4")
    quarantine(recipe, "reelscript quarantine mine", None, True, ["probe/empty"])
    after = read_clips(recipe.store, "captioned")
    (new,) = (clip for clip in after if clip not in before)
    assert new.media_uid == stable_uid("webvid", "p/zero_bytes")
    assert [clip for clip in after if clip != new] == before
    assert len(Ledger(recipe.store, "captioned").committed()) == 2
    aside = [item.reason for item in set_aside(recipe)]
    assert sorted(aside) == [
        "fetch/missing",
        "probe/no_video",
        "probe/not_media",
        "probe/truncated",
        "probe/wrong_length",
    ]


def test_a_medium_that_was_not_set_aside_is_none_to_try(tmp_path: Path) -> None:
    recipe = replace(tvtsv2_tiny(), store=str(tmp_path))
    with pytest.raises(UserError, match="no medium abc was set aside"):
        try_again(recipe, "abc")
