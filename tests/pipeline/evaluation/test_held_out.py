"""What a recipe's scoring declares before anything is trained."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from infra.errors import UserError
from pipeline.evaluation.held_out import (
    check_captions,
    declared_of,
    held_out_of,
    scored_streams,
    validation_of,
)
from pipeline.recipe import Evaluation, Recipe, Validating
from pipeline.recipes.tvtsv2 import tvtsv2_tiny
from trainers.evaluation.protocol import Protocol


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
