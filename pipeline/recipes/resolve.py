"""From what a user typed to a recipe: one of ours, or `file.py:function` of the user's own."""

import ast
import difflib
import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from infra.errors import UserError
from pipeline.recipe import Recipe
from pipeline.recipes import tvtsv2

OURS: dict[str, Callable[[], Recipe]] = {
    function.__name__.replace("_", "-"): function
    for function in (
        *(tvtsv2.tvtsv2_tiny, tvtsv2.tvtsv2_b32, tvtsv2.tvtsv2_b16, tvtsv2.tvtsv2_h14),
        *(tvtsv2.tvtsv2_plus_tiny, tvtsv2.tvtsv2_plus_b32, tvtsv2.tvtsv2_plus_b16, tvtsv2.tvtsv2_plus_h14),
    )
}


def resolve(name: str) -> Recipe:
    """The recipe of that name. Raises UserError naming near matches, or what is wrong with the user's file."""
    if ".py:" in name:
        return _from_file(*name.rsplit(":", 1))
    if name in OURS:
        return OURS[name]()
    if name.endswith(".py") and Path(name).is_file():
        raise UserError(f"{name} is a file of recipes; name one of its functions: {_functions_of(name)}")
    near = difflib.get_close_matches(name, OURS, n=1)
    hint = (
        f"did you mean {near[0]}?" if near else f"known: {', '.join(OURS)}, or file.py:function of your own."
    )
    raise UserError(f"There is no recipe named {name}; {hint}")


def kind_from(file: str, name: str) -> Any:
    """A class that a recipe file of the user's own defines, loaded once; its kinds are registered."""
    loaded = _LOADED.get(str(Path(file).resolve()))
    return getattr(loaded or _load(file), name)


def file_of(kind: type) -> str | None:
    """The recipe file that defines a class; None: no file that was loaded here does."""
    return next(
        (
            file
            for file, module in _LOADED.items()
            if module.__name__ == kind.__module__ and getattr(module, kind.__name__, None) is kind
        ),
        None,
    )


_LOADED: dict[str, ModuleType] = {}
"""Recipe files by absolute path. They stay out of `sys.modules`: so what they define travels to workers by value."""


def _load(file: str) -> ModuleType:
    path = Path(file).resolve()
    if not path.is_file():
        raise UserError(
            f"The recipe file {file} does not exist; give the path of a Python file before the colon."
        )
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    _LOADED[str(path)] = module
    return module


def _functions_of(file: str) -> str:
    """How to name each function that a recipe file defines."""
    tree = ast.parse(Path(file).read_text(), file)
    names = [
        node.name for node in tree.body if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
    ]
    return " or ".join(f"{file}:{name}" for name in names) or "it defines none"


def _from_file(file: str, function: str) -> Recipe:
    try:
        recipe = getattr(_load(file), function)()
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"The recipe {file}:{function} cannot be read: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(recipe, Recipe):
        raise UserError(
            f"{file}:{function} returned {type(recipe).__name__}; it must return a pipeline.recipe.Recipe."
        )
    return recipe
