"""Plain values become dataclasses again: unions and open families are told apart by their kind."""

import json
from dataclasses import asdict, replace

import pytest

from tests.trainers.tiny import training
from trainers.recipe import Cosine, Drops, Optimizer, Ratio, Stage, Training
from trainers.recipe_json import from_values


def test_unions_and_families_come_back_as_the_kinds_that_they_were() -> None:
    stage = training(1).stages[0]
    optimizer = replace(stage.optimizer, course=Drops(steps_per_epoch=10, epochs=(2, 3)))
    stage = replace(stage, schedule=Ratio((3, 1)), optimizer=optimizer)
    recipe = replace(training(1), stages=(stage,))
    found = from_values(Training, json.loads(json.dumps(asdict(recipe))))
    assert found == recipe
    kinds = (
        found.system,
        found.stages[0].schedule,
        found.stages[0].streams[0].reads,
        *found.stages[0].objectives,
    )
    assert [type(each).__name__ for each in kinds] == [
        "TVTSv2",
        "Ratio",
        "TVTSv2Reads",
        "Contrastive",
        "Sorting",
    ]


def test_absent_fields_take_their_defaults_in_a_union_too() -> None:
    found = from_values(
        Optimizer, {"course": {"kind": "cosine", "floor": 0.1}, "rates": {"all": {"lr": 1.0}}}
    )
    assert found.course == Cosine(floor=0.1)
    assert found.rates["all"].names == ("*",)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            {"schedule": {"kind": "alternat"}},
            "schedule is of kind 'alternat', not one of 'alternate', 'ratio', 's",
        ),
        ({"schedule": {"kind": "ratio"}}, "Ratio lacks its field 'steps'"),
        ({"schedule": {}}, "schedule is of kind None, not one of"),
        (
            {"objectives": [{"kind": "sortin"}]},
            "there is no objective of kind 'sortin'; did you mean 'sorting'",
        ),
        ({"objectives": [{"kind": "sorting", "temperature": 1}]}, "Sorting has no field 'temperature'"),
        (
            {"objectives": [{"kind": "contrastive", "gather": "sum"}]},
            "gather is 'sum', not one of 'published'",
        ),
        ({"objectives": ["sorting"]}, "objectives is 'sorting', not a mapping with a kind"),
    ],
)
def test_what_is_of_no_kind_or_does_not_fit_its_kind_is_named(
    change: dict[str, object], sentence: str
) -> None:
    plain = json.loads(json.dumps(asdict(training(1).stages[0]))) | change
    with pytest.raises(ValueError, match=sentence):
        from_values(Stage, plain)
