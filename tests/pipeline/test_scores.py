"""Chance and judgement, worked out by hand."""

import json

import pytest

from pipeline.report_data import Weights
from pipeline.scores import Example, Hit, Scores, chance, luck
from pipeline.verdict import judge


def test_chance_in_a_gallery_of_a_hundred_with_four_transcripts() -> None:
    levels = chance(
        ["B/t2v_R5", "B/t2v_MedR", "sorting/position", "sorting/all_right", "twins/B/t2v"], 100, 4
    )
    assert levels == {
        "B/t2v_R5": 5.0,
        "B/t2v_MedR": 50.5,
        "sorting/position": 25.0,
        "sorting/all_right": 100 / 256,
        "twins/B/t2v": 50.0,
    }


def test_luck_is_the_upper_tail_of_the_binomial() -> None:
    assert luck(0, 10, 0.3) == pytest.approx(1.0)
    assert luck(2, 2, 0.5) == pytest.approx(0.25)
    assert luck(1, 3, 0.5) == pytest.approx(1 - 0.5**3)


def test_scores_come_back_from_a_file_as_they_were() -> None:
    hits = (Hit("a", 0.5), Hit("b", 0.25))
    scores = Scores({"B/t2v_R1": 12.5}, 8, 4, 2, (Example("B", "a text", "b", 2, hits),))
    assert Scores.from_json(json.loads(json.dumps(scores.to_json()))) == scores


def _weights(position: float, control: float) -> Weights:
    metrics = {
        "B/t2v_R1": 30.0,
        "sorting/position": position,
        "sorting/all_right": 20.0,
        "sorting/control": control,
    }
    return Weights("trained", "trained", (Scores(metrics, 100, 4),))


def test_one_of_a_hundred_by_chance_makes_thirty_a_finding() -> None:
    retrieval, sorting, control = judge([_weights(position=80.0, control=25.0)])
    assert retrieval.good
    assert "30 of 100" in retrieval.sentence
    assert sorting.good
    assert control.good


def test_sorting_without_the_video_is_not_a_finding() -> None:
    _, sorting, control = judge([_weights(position=27.0, control=60.0)])
    assert not sorting.good
    assert not control.good
