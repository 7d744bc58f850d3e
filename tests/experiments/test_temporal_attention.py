"""The experiment still runs: a few steps of each comparison, and the tables of made-up runs."""

from pathlib import Path

from pipeline.demo.grammar import Event, Thing
from tests.experiments.measures import plateau_left
from tests.experiments.motion_clips import backwards
from tests.experiments.on_demo import Demo
from tests.experiments.on_motions import Motions
from tests.experiments.tables import cell, tables
from tests.experiments.temporal_attention import done, record
from tests.experiments.variants import FLOOR, STARTS
from tests.ingest.clips import write_stream


def test_a_few_steps_on_stored_clips_give_scores_and_movements(tmp_path: Path) -> None:
    store = str(tmp_path / "store")
    for stream in ("stills", "narrated", "captioned", "test", "twins"):
        clips = write_stream(store, stream, 12)
    captions = {
        clip.media_uid: {"A": [u.text for u in clip.transcripts], "B": [clip.captions[0]]} for clip in clips
    }
    demo = Demo(store, captions, tmp_path / "work", steps=(1, 2), num_drawn=2)
    found = demo.run(STARTS["from_spatial"], seed=0)
    assert min(found["moved/proj"], found["share"]) > 0
    assert {"A/t2v_R1", "sorting/position", "motions/position", "twins/B/t2v", "text_motion"} <= found.keys()


def test_without_module_and_table_the_order_of_frames_cannot_be_told(tmp_path: Path) -> None:
    found = Motions(steps=2, batch_size=2, num_held_out=4).run(FLOOR["no_time"], seed=0)
    assert found["moved/table"] == found["share"] == 0
    results = tmp_path / "results.jsonl"
    record(results, "motions", "no_time", 0, found)
    assert done(results, "motions", "no_time", 0)
    assert not done(results, "motions", "no_time", 1)


def test_a_story_played_backwards_has_the_opposite_motions() -> None:
    def story(*motions: str) -> tuple[Event, ...]:
        return tuple(Event(Thing("red", "circle"), motion) for motion in motions)

    assert backwards(story("up", "spin", "left", "grow")) == story("down", "spin", "right", "grow")
    assert backwards(story("up", "down", "left", "right")) is None  # the same four sentences


def test_the_plateau_is_left_when_the_mean_of_twenty_losses_is_low() -> None:
    curve = [(step, 1.386 if step < 30 else 1.0) for step in range(1, 60)]
    assert plateau_left(curve) == 39  # ten of twenty low: (13.86 + 10) / 20 = 1.193
    assert plateau_left(curve[:25]) is None


def test_cells_show_mean_range_and_what_never_happened() -> None:
    assert cell([80.0, 60.0, 70.0]) == "70 (60–80)"
    assert cell([200, None]) == "200, never (1)"
    assert cell([None, None]) == "never"
    runs = [
        {"study": "demo", "variant": "a", "seed": 0, "left_at": 10},
        {"study": "demo", "variant": "a", "seed": 1},
    ]
    assert tables(runs).startswith("demo, seeds 0 1\n")
