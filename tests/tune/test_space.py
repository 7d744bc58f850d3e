import pytest
import tyro

from tests.trainers.tiny import training
from tune.fields import field_names, with_fields
from tune.space import Choice, Grid, LogUniform, Search, Uniform, parse


@pytest.mark.parametrize(
    ("text", "dimension"),
    [
        ("loguniform:1e-06,0.001", LogUniform(1e-6, 1e-3)),
        ("uniform:0,0.5", Uniform(0, 0.5)),
        ("choice:cosine,constant", Choice(("cosine", "constant"))),
        ("grid:0.2,4,True,None", Grid((0.2, 4, True, None))),
    ],
)
def test_a_dimension_is_what_its_text_says_and_says_it(text: str, dimension: object) -> None:
    assert parse(text) == dimension
    assert str(dimension) == text


@pytest.mark.parametrize("text", ["loguniform:0,1", "uniform:2,1", "normal:0,1", "choice:", "uniform:a,b"])
def test_what_is_no_dimension_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"loguniform|uniform|choice"):
        parse(text)


def test_half_of_the_draws_of_a_rate_lie_below_the_geometric_middle() -> None:
    assert LogUniform(1e-6, 1e-2).at(0.5) == pytest.approx(1e-4)
    assert Uniform(1, 3).at(0.5) == 2
    assert [Choice(("a", "b")).at(share) for share in (0.0, 0.49, 0.5, 0.99)] == ["a", "a", "b", "b"]


def test_the_command_line_takes_a_range_of_depths_and_a_space() -> None:
    words = ["--depths", "0:4:2", "--space", "stages.0.optimizer.lr_rest", "loguniform:1e-6,1e-3"]
    found = tyro.cli(Search, args=words, default=Search(depths=(0, 1)))
    assert found == Search(depths="0:4:2", space={"stages.0.optimizer.lr_rest": LogUniform(1e-6, 1e-3)})


def test_a_field_is_set_by_the_name_of_its_flag() -> None:
    recipe = training(9)
    changed = with_fields(
        recipe, {"stages.0.optimizer.lr-rest": 0.5, "stages.0.streams.1.batch_size": 6.0}, "here"
    )
    assert changed.stages[0].optimizer.lr_rest == 0.5
    assert changed.stages[0].streams[1].batch_size == 6
    assert with_fields(recipe, {"stages.0.streams.0.objectives.sorting": 3.0}, "here").stages[0].streams[
        0
    ].objectives == {"contrastive": 1.0, "sorting": 3.0}
    assert "stages.0.optimizer.lr_rest" in field_names(recipe)


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        (
            "stages.0.optimizer.lr_rst",
            1.0,
            r"stages.0.optimizer.lr_rst is no field.*mean stages.0.optimizer.lr_rest\?",
        ),
        ("stages.0.optimizer.form", "adam", "cannot be 'adam'; one of published, torch"),
        ("stages.0.optimizer.eps", "small", "cannot be 'small'; it is a number"),
        ("stages.0.optimizer", 1.0, "is no single value"),
    ],
)
def test_a_field_or_value_that_cannot_be_is_named(name: str, value: object, told: str) -> None:
    with pytest.raises(ValueError, match=rf"search\.space: .*{told}"):
        with_fields(training(9), {name: value}, "search.space")
