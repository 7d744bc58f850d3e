from dataclasses import replace
from pathlib import Path

from pipeline.recipe_file import FUNCTION, as_file
from pipeline.recipes.resolve import OURS, resolve
from tune.space import LogUniform, Search


def test_a_recipe_read_back_from_its_file_is_the_same(tmp_path: Path) -> None:
    for make in OURS.values():
        recipe = replace(make(), search=Search(depths="0:4", space={"a.b": LogUniform(1e-6, 1e-3)}))
        file = tmp_path / "mine.py"
        file.write_bytes(as_file(recipe, "One of ours."))
        assert resolve(f"{file}:{FUNCTION}") == recipe
