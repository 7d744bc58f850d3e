"""What is written down of an evaluation, and what is said of it."""

import json
from dataclasses import replace

from pipeline.evaluation.scores import Scores
from pipeline.report.facts import Weights
from pipeline.report.verdict import judge
from tests.pipeline.report.report_facts import DECLARED
from trainers.evaluation.protocol import Example, Hit, Measured


def test_scores_come_back_from_a_file_as_they_were() -> None:
    hits = (Hit("a", 0.5), Hit("b", 0.25))
    measured = (Measured(DECLARED["B/t2v_R1"], 12.5, 12.5, 8), Measured(DECLARED["B/t2v_MedR"], 4.0))
    scores = Scores(measured, 8, (Example("register B", "a text", "b", 2, hits),))
    assert Scores.from_json(json.loads(json.dumps(scores.to_json()))) == scores


def _weights(position: float, control: float) -> Weights:
    values = {"B/t2v_R1": 30.0, "sorting/position": position, "sorting/all_right": 20.0}
    values["sorting/control"] = control
    measured = [Measured(DECLARED[name], value, DECLARED[name].chance, 100) for name, value in values.items()]
    measured[0] = replace(measured[0], chance=1.0)
    return Weights("trained", "trained", (Scores(tuple(measured), 100),))


def test_one_of_a_hundred_by_chance_makes_thirty_a_finding() -> None:
    retrieval, sorting, control = judge([_weights(position=80.0, control=25.0)])
    assert [retrieval.good, sorting.good, control.good] == [True, True, True]
    assert retrieval.sentence == ("Register B: 30 of 100 texts find their own video first, above chance (1).")
    assert sorting.sentence == (
        "Sorting: 80 % of the transcripts are placed right (chance 25 %), all 4 of a clip in 20 % of the clips "
        "(chance 0.4 %)."
    )
    assert control.sentence == (
        "Control: with another clip's video 25 % are placed right (chance 25 %), so what it gets right it gets from "
        "the video."
    )


def test_sorting_without_the_video_is_not_a_finding() -> None:
    _, sorting, control = judge([_weights(position=27.0, control=60.0)])
    assert not sorting.good
    assert not control.good
    assert control.sentence.endswith("so something else than the video gives the order away.")
    _, _, idle = judge([_weights(position=27.0, control=26.0)])
    assert idle.good
    assert idle.sentence.endswith("as it must be.")


def test_start_weights_are_named_beside_the_trained_ones_where_there_are_some() -> None:
    trained = _weights(position=80.0, control=25.0)
    lower = replace(trained.runs[0].measured[0], value=12.0)
    start = Weights("start", "start weights", (Scores((lower,), 100),))
    assert judge([start, trained])[0].sentence.endswith("above chance (1); the start weights manage 12.")
