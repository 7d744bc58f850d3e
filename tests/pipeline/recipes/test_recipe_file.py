from dataclasses import replace
from pathlib import Path

from pipeline.recipes.recipe_file import FUNCTION, as_file
from pipeline.recipes.resolve import OURS, file_of, resolve
from tune.space import Grid, LogUniform, Search

OF_ONES_OWN = """
from dataclasses import dataclass, replace
from typing import Literal

from pipeline.recipe import Recipe
from pipeline.recipes.tvtsv2 import tvtsv2_tiny
from trainers.objectives.settings import ObjectiveSettings
from trainers.kinds import register


@dataclass(frozen=True)
class Sorting(ObjectiveSettings):
    kind: Literal["by_colour"] = "by_colour"
    colours: tuple[str, ...] = ("red",)


register(Sorting)


def mine() -> Recipe:
    recipe = tvtsv2_tiny()
    stages = tuple(
        replace(stage, objectives=(*stage.objectives, Sorting())) for stage in recipe.training.stages
    )
    return replace(recipe, training=replace(recipe.training, stages=stages))
"""


def test_a_recipe_read_back_from_its_file_is_the_same(tmp_path: Path) -> None:
    space = {"a.b": LogUniform(1e-6, 1e-3), "c": Grid((0, "two", None))}
    for make in OURS.values():
        recipe = replace(
            make(), search=Search(space=space, variants={"x": {"a.c": 1.5}}, words={"c": "it's"})
        )
        file = tmp_path / "mine.py"
        file.write_bytes(as_file(recipe, "One of ours."))
        assert resolve(f"{file}:{FUNCTION}") == recipe
        assert max(map(len, file.read_text().splitlines())) < 200


def test_kinds_of_a_recipe_file_are_loaded_from_it_by_the_file_of_its_winner(tmp_path: Path) -> None:
    own, winner, again = tmp_path / "own.py", tmp_path / "winner.py", tmp_path / "again.py"
    own.write_text(OF_ONES_OWN)
    recipe = resolve(f"{own}:mine")
    kind = type(recipe.training.stages[0].objectives[-1])  # another class of this name is in the recipe too
    assert file_of(kind) == str(own)
    winner.write_bytes(as_file(recipe, "The winner."))
    assert resolve(f"{winner}:{FUNCTION}") == recipe
    again.write_bytes(as_file(resolve(f"{winner}:{FUNCTION}"), "The winner of its search."))
    assert resolve(f"{again}:{FUNCTION}") == recipe
    assert str(own) in again.read_text()
