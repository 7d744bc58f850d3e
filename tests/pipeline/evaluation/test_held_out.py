"""What a recipe's scoring declares before anything is trained."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from infra.errors import UserError
from pipeline.evaluation.cluster.embed import Gallery
from pipeline.evaluation.held_out import (
    CheckpointScores,
    check_captions,
    declared_of,
    held_out_of,
    scored_streams,
    validation_of,
)
from pipeline.recipe import Evaluation, Recipe, Validating
from pipeline.recipes.tvtsv2 import tvtsv2_tiny
from tests.ingest.clips import write_stream
from tests.trainers.run_folders import write_run
from tests.trainers.tiny import training
from trainers.evaluation.protocol import HeldOut, Protocol
from trainers.evaluation.protocols.retrieval import Retrieval
from trainers.evaluation.validation import CHANCE, CLIPS


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    """The tiny recipe with one medium's held-out texts."""
    recipe = tvtsv2_tiny()
    file = tmp_path / recipe.evaluation.captions
    file.parent.mkdir()
    file.write_text(json.dumps({"film": {"A": ["it goes", "it stops"], "B": "first it goes", "D": "a box"}}))
    return replace(recipe, data=replace(recipe.data, root=str(tmp_path)))


def test_a_stream_is_scored_by_the_evaluations_protocols_and_that_of_the_search_by_its_own_too(
    recipe: Recipe,
) -> None:
    test, val = declared_of(recipe, "test"), declared_of(recipe, "val")
    assert {"B/t2v_R1", "sorting/position", "twins/D/v2t"} <= test.keys()
    assert val.keys() - test.keys() == {
        *(f"classes/{register}/{name}" for register in "BD" for name in ("found", "top1")),
        *(f"drift/{register}" for register in "ABD"),
    }
    assert test.keys() - val.keys() == {
        f"twins/{register}/{way}" for register in "BD" for way in ("t2v", "v2t")
    }
    assert [name for name, each in test.items() if each.leading] == [
        *(f"{register}/t2v_R1" for register in "ABD"),
        "sorting/position",
    ]
    assert test["B/t2v_R1"].note.startswith("Captions worded as those trained on")
    assert scored_streams(recipe) == ["test", "twins"]


@pytest.mark.parametrize(
    ("best", "told"),
    [
        ("B/t2v_R2", "there is no score 'B/t2v_R2'; the nearest are .*B/t2v_R1"),
        ("max:B/t2v_MedR", "max:B/t2v_MedR is the worst; write min:B/t2v_MedR"),
        ("drift/A", "there is no score 'drift/A'"),  # a checkpoint is scored beside no start weights
    ],
)
def test_a_best_score_that_cannot_be_is_refused_before_anything_is_trained(
    recipe: Recipe, best: str, told: str
) -> None:
    with pytest.raises(ValueError, match=told):
        validation_of(replace(recipe, validation=Validating("val", best)), 1)


def test_captions_are_asked_for_where_a_protocol_reads_them(recipe: Recipe) -> None:
    with pytest.raises(UserError, match=r"evaluation\.captions is not set"):
        check_captions(replace(recipe, evaluation=replace(recipe.evaluation, captions="")))
    unscored = replace(recipe, evaluation=Evaluation(), search=replace(recipe.search, protocols=()))
    assert held_out_of(unscored, "test").media is None  # every clip is taken


def test_protocols_travel_by_name_and_know_their_kind(recipe: Recipe) -> None:
    kinds = [each.kind for each in (*recipe.evaluation.protocols, *recipe.search.protocols)]
    assert kinds == ["retrieval", "sorting", "twins", "recognition", "drift"]
    assert [type(each) for each in recipe.evaluation.protocols] == [
        Protocol.of_kind(kind) for kind in kinds[:3]
    ]


def test_a_checkpoint_has_its_numbers_with_how_many_clips_they_are_of_and_chance_of_the_leading_ones(
    tmp_path: Path,
) -> None:
    plain, names = training(4), ["checkpoint_00000004"]
    write_run(tmp_path / "run", plain, names, names)
    clips = write_stream(str(tmp_path), "val", 8)
    texts = {clip.media_uid: {"B": list(clip.captions)} for clip in clips}
    held_out = HeldOut("val", plain.system, texts, {})
    gallery = Gallery(held_out, str(tmp_path), plain.pixels, num_frames=4, batch_size=4)
    score = CheckpointScores(gallery, (Retrieval(),), threads=1, on_gpu=False)
    found = score(str(tmp_path / "run" / names[0]))
    assert found[CLIPS] == 8
    assert found["B/t2v_R10"] == 100  # of eight clips
    assert found[CHANCE + "B/t2v_R1"] == 100 / 8
    assert CHANCE + "B/t2v_R10" not in found  # that is no leading number
    assert 0 <= found["B/t2v_R1"] <= 100


def test_only_the_stages_that_are_named_are_scored_and_on_clips_that_there_must_be(recipe: Recipe) -> None:
    last = replace(recipe, validation=Validating("val"), store=recipe.data.root)
    assert validation_of(last, 0) is None
    with pytest.raises(UserError, match="stream 'val' holds no clips; run `reelscript ingest`"):
        validation_of(last, 1)
    write_stream(last.store, "val", 1)
    validation = validation_of(last, 1)
    assert validation is not None
    assert isinstance(validation.score, CheckpointScores)
    assert validation.best is None
    assert validation_of(replace(last, validation=Validating("")), 1) is None


def test_a_stream_that_no_source_feeds_is_refused(recipe: Recipe) -> None:
    with pytest.raises(
        UserError, match="no source of the recipe feeds the stream 'nowhere'; the recipe has narr"
    ):
        held_out_of(recipe, "nowhere")
