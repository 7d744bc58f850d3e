import pytest
import tyro

from infra.fields import field_names, short_names, with_fields
from tests.trainers.tiny import training
from tune.space import Choice, Grid, LogUniform, Search, Uniform, parse

FROZEN, RATE = "stages.0.frozen_below.text", "stages.0.optimizer.rates.rest.lr"


@pytest.mark.parametrize(
    ("text", "dimension"),
    [
        ("loguniform:1e-06,0.001", LogUniform(1e-6, 1e-3)),
        ("uniform:0,0.5", Uniform(0, 0.5)),
        ("choice:cosine,constant", Choice(("cosine", "constant"))),
        ("grid:0.2,4,True,None", Grid((0.2, 4, True, None))),
        ("grid:s3://weights,owner/name", Grid(("s3://weights", "owner/name"))),
    ],
)
def test_a_dimension_is_what_its_text_says_and_says_it(text: str, dimension: object) -> None:
    assert parse(text) == dimension
    assert str(dimension) == text


def test_a_range_has_both_ends() -> None:
    assert parse("grid:0:12:3") == Grid((0, 3, 6, 9, 12))
    assert parse("grid:1:3") == Grid((1, 2, 3))
    assert parse("grid:-2:2:4") == Grid((-2, 2))
    assert str(parse("grid:0:4:2")) == "grid:0,2,4"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("loguniform:0,1", "needs two ends above 0, the lower one first"),
        ("uniform:2,1", "needs two ends, the lower one first"),
        ("normal:0,1", "is no distribution"),
        ("choice:", "is no distribution"),
        ("uniform:a,b", "is no distribution"),
        ("grid:3:1", "is no distribution"),
        ("grid:0:4:0", "is no distribution"),
        ("grid:1:", "is no distribution"),
    ],
)
def test_what_is_no_dimension_is_refused(text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=f"{text}'? {sentence}"):
        parse(text)


def test_half_of_the_draws_of_a_rate_lie_below_the_geometric_middle() -> None:
    assert LogUniform(1e-6, 1e-2).at(0.5) == pytest.approx(1e-4)
    assert Uniform(1, 3).at(0.5) == 2
    assert [Choice(("a", "b")).at(share) for share in (0.0, 0.49, 0.5, 0.99)] == ["a", "a", "b", "b"]


def test_the_command_line_gives_the_space_in_place_of_the_recipes() -> None:
    default = Search(space={FROZEN: Grid((0, 1))}, variants={"small": {RATE: 1e-4}}, metric="D")
    words = ["--space", FROZEN, "grid:0:4:2", RATE, "loguniform:1e-6,1e-3"]
    found = tyro.cli(Search, args=words, default=default)
    assert found.space == {FROZEN: Grid((0, 2, 4)), RATE: LogUniform(1e-6, 1e-3)}
    assert (found.variants, found.metric) == (default.variants, "D")
    assert tyro.cli(Search, args=[], default=default) == default
    assert not tyro.cli(Search, args=["--space"], default=Search(space=default.space)).wanted


def test_the_axis_is_the_first_grid_of_numbers() -> None:
    words, truths = Grid(("published", "torch")), Grid((True, False))
    space = {
        "form": words,
        "skip": truths,
        RATE: LogUniform(1e-6, 1e-3),
        FROZEN: Grid((0, 2)),
        "eps": Grid((0.1,)),
    }
    assert Search(space=space).axis == FROZEN
    assert Search(space={"form": words, RATE: LogUniform(1e-6, 1e-3)}).axis is None


def test_a_field_is_set_by_the_name_of_its_flag() -> None:
    recipe = training(9)
    changed = with_fields(recipe, {RATE: 0.5, "stages.0.streams.1.batch-size": 6.0, FROZEN: 2}, "here")
    stage = changed.stages[0]
    assert (stage.optimizer.rates["rest"].lr, stage.streams[1].batch_size) == (0.5, 6)
    assert stage.frozen_below == {"video": 0, "text": 2}
    weighed = with_fields(recipe, {"stages.0.streams.0.objectives.sorting": 3.0}, "here")
    assert weighed.stages[0].streams[0].objectives == {"contrastive": 1.0, "sorting": 3.0}
    assert {RATE, FROZEN, "system.text.layers"} <= set(field_names(recipe))
    assert with_fields(recipe, {"stages.0.optimizer.max_grad_norm": None}, "here") == recipe


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        (RATE.replace("lr", "lt"), 1.0, r"rest.lt is no field.*mean stages.0.optimizer.rates.rest.lr\?"),
        ("stages.0.optimizer.form", "adam", "cannot be 'adam'; one of published, torch"),
        ("system.activation", "relu", "cannot be 'relu'; one of quick_gelu, gelu"),
        ("stages.0.optimizer.eps", "small", "cannot be 'small'; it is a number"),
        ("stages.0.optimizer.max_grad_norm", "none", "cannot be 'none'; it is a number"),
        (FROZEN, "all", "cannot be 'all'; it is a number"),
        ("stages.0.optimizer", 1.0, "is no single value"),
        ("stages.0.frozen_below", 1, "is no single value"),
        ("init_parts", 1, "is no single value"),
    ],
)
def test_a_field_or_value_that_cannot_be_is_named(name: str, value: object, told: str) -> None:
    with pytest.raises(ValueError, match=rf"search\.space: .*{told}"):
        with_fields(training(9), {name: value}, "search.space")


def test_fields_are_named_by_what_tells_them_apart() -> None:
    masks = [f"stages.1.streams.{stream}.reads.mask_ratio" for stream in (0, 1)]
    assert short_names([FROZEN, RATE, masks[0]]) == {
        FROZEN: "frozen_below.text",
        RATE: "rates.rest.lr",
        masks[0]: "reads.mask_ratio",
    }
    assert list(short_names(masks).values()) == ["streams.0.reads.mask_ratio", "streams.1.reads.mask_ratio"]
    assert short_names([]) == {}
