"""What the report is told of finished runs: counts, times and pictures that can be worked out by hand."""

from dataclasses import replace
from pathlib import Path

from infra.journal import Done
from ingest.records import Reject
from ingest.stores.ledger import Ledger, Line, Part
from ingest.stores.quarantine import write_rejects
from pipeline.evaluation.scores import Scores
from pipeline.recipe import Recipe
from pipeline.recipes.tvtsv2 import tvtsv2_tiny
from pipeline.report.facts import StepTime, StreamIn
from pipeline.run.everything import Finished
from pipeline.run.report_facts import gallery, rejects, samples, steps, stream_in, weights
from tests.ingest.clips import synthetic_clip, write_stream
from trainers.evaluation.protocol import Declared, Example, Hit, Measured


def done(name: str, seconds: float, earlier: bool = False, **result: object) -> Done:
    return Done(name, result, seconds, earlier)


def finished(seed: int, recipe: Recipe, searched: bool = True, **scores: Scores) -> Finished:
    """Times of 1 to 5 seconds, in the order of the steps, and ten times as much for each further seed."""
    times = [10**seed * second for second in (1.0, 2.0, 3.0, 4.0, 5.0)]
    return Finished(
        replace(recipe, training=replace(recipe.training, seed=seed)),
        done("ingest", times[0], earlier=True),
        (done("stage-stills", times[1]), done("stage-tvtsv2", times[3], earlier=True)),
        done("search", times[2], trials=[{}, {}, {}]) if searched else None,
        done("evaluate", times[4], **{kind: each.to_json() for kind, each in scores.items()}),
    )


def scores(value: float, *examples: Example) -> Scores:
    return Scores((Measured(Declared("B/t2v_R1", "found", "Retrieval"), value),), 8, examples)


def test_the_search_stands_before_the_stage_that_it_varies_and_of_several_seeds_each_is_named() -> None:
    recipe = tvtsv2_tiny()
    alone = steps([finished(0, recipe, trained=scores(1.0))])
    assert alone == [
        StepTime("Ingest", 1.0, "raw archives to shards", earlier=True),
        StepTime("Train stills", 2.0, "220 steps"),
        StepTime("Search", 3.0, "3 trials"),
        StepTime("Train tvtsv2", 4.0, "400 steps", earlier=True),
        StepTime("Evaluate", 5.0, "1 kinds of weights"),
    ]
    both = steps([finished(seed, recipe, searched=False) for seed in (0, 1)])
    assert [(step.title, step.seconds) for step in both] == [
        ("Ingest", 1.0),  # shards are shared
        ("Train stills, seed 0", 2.0),
        ("Train tvtsv2, seed 0", 4.0),
        ("Evaluate, seed 0", 5.0),
        ("Train stills, seed 1", 20.0),
        ("Train tvtsv2, seed 1", 40.0),
        ("Evaluate, seed 1", 50.0),
    ]


def test_what_came_in_is_summed_over_all_shards_of_a_stream_and_what_was_set_aside_is_listed_once(
    tmp_path: Path,
) -> None:
    recipe = replace(tvtsv2_tiny(), store=str(tmp_path))
    parts = (Part("a", (2, 1), 1000),), (Part("b", (4,), 500), Part("c", (1,), 250))
    broken = Reject("uid", "probe", "empty", "0 bytes")
    write_rejects(str(tmp_path), "captioned", "1", [broken])
    ledger = Ledger(str(tmp_path), "captioned")
    ledger.commit(Line("0", "0", "webvid", "0", "s", parts[0], 4, 3, 1, 1800.0))
    ledger.commit(Line("1", "1", "webvid", "1", "s", parts[1], 6, 5, 2, 5400.0, {"probe/empty": 1}))
    assert stream_in(recipe, "captioned", "webvid") == StreamIn(
        "captioned", "webvid", media=10, clips=8, rejects=1, hours=2.0, size_bytes=1750, transcribed=3
    )
    assert stream_in(recipe, "narrated", "yt_temporal") == StreamIn(
        "narrated", "yt_temporal", 0, 0, 0, 0.0, 0
    )
    twice = replace(recipe, data=replace(recipe.data, sources=recipe.data.sources * 2))
    assert [(each.uid, each.reason) for each in rejects(twice)] == [("uid", "empty")]


def test_samples_come_in_equal_numbers_from_the_streams_of_all_stages_the_last_stages_first(
    tmp_path: Path,
) -> None:
    recipe = replace(tvtsv2_tiny(), store=str(tmp_path))
    write_stream(str(tmp_path), "narrated", 5)
    write_stream(str(tmp_path), "captioned", 1)
    write_stream(str(tmp_path), "stills", 5)
    uids = [clip.uid for clip in samples(recipe)]  # at most two of each of the three
    assert uids == [synthetic_clip(number).uid for number in (0, 1, 0, 0, 1)]


def test_weights_have_a_run_per_seed_and_those_without_a_number_are_left_out() -> None:
    recipe, nothing = tvtsv2_tiny(), Scores((), 8)
    runs = [finished(seed, recipe, random=nothing, trained=scores(10.0 + 2 * seed)) for seed in (0, 1)]
    (trained,) = weights(runs)
    assert (trained.kind, trained.title) == ("trained", "trained")
    assert [run.values for run in trained.runs] == [{"B/t2v_R1": 10.0}, {"B/t2v_R1": 12.0}]
    assert trained.means["B/t2v_R1"].value == 11.0


def test_the_gallery_has_the_clips_that_examples_name_and_no_others(tmp_path: Path) -> None:
    recipe = replace(tvtsv2_tiny(), store=str(tmp_path))
    clips = write_stream(str(tmp_path), "test", 6)
    uids = [clip.uid for clip in clips]
    shown = Example("register B", "text", uids[4], 3, (Hit(uids[1], 0.9), Hit(uids[2], 0.8)))
    found = weights([finished(0, recipe, trained=scores(1.0, shown))])
    assert set(gallery(recipe, found)) == {uids[1], uids[2], uids[4]}
    assert gallery(recipe, found)[uids[4]].captions == ("caption 4",)
