"""What a user typed wrong is answered in one sentence and a non-zero exit; `--help` has a line for every field."""

import dataclasses
import errno
import subprocess
import sys
from collections.abc import Iterator, Mapping
from typing import Any, get_args, get_type_hints

import docstring_parser
import pytest

from infra.errors import StorageError
from ingest.settings import FixedWindows
from pipeline.cli import VERBS, Doctor, Export, explain, main
from pipeline.recipes.resolve import OURS
from trainers.kinds import TABLE, Tagged
from trainers.recipe import Linear, Ratio
from tune.space import LogUniform


def sentence(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    with pytest.raises(SystemExit) as stop:
        main(list(words))
    assert stop.value.code == 1
    shown = capsys.readouterr().err
    assert "Traceback" not in shown
    return shown


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["trian"], "did you mean train"),
        (["serach"], "did you mean tune"),
        (["evaulate"], "did you mean evaluate"),
        (["run", "tvtsv2-tinny"], "did you mean tvtsv2-tiny"),
        (["train", "tvtsv2-tiny", "--lanch.workers", "2"], "did you mean --launch.workers"),
        (["train", "tvtsv2-tiny", "--stages.1.step", "2"], "did you mean --stages.1.steps"),
        (["run", "nowhere.py:mine"], "nowhere.py does not exist"),
        (["tune", "tvtsv2-tiny", "--search.space"], "There is nothing to search"),
        (
            ["tune", "tvtsv2-tiny", "--search.space", "stages.1.optimizer.rates.rest.lt", "grid:1e-3"],
            "did you mean stages.1.optimizer.rates.rest.lr",
        ),
        (
            ["tune", "tvtsv2-tiny", "--search.space", "stages.1.frozen_below.text", "grid:0:8:2"],
            "frozen_below.text is 6, but the tower has 4 blocks",
        ),
        (["run", "tvtsv2-tiny", "--data.root", "absent"], "there is no folder absent: set --data.root"),
        (["ingest", "tvtsv2-tiny", "--data.root", "absent"], "there is no folder absent: set --data.root"),
        (["run"], "Name a recipe"),
    ],
)
def test_a_word_that_is_not_known_is_answered_with_its_nearest_match(
    capsys: pytest.CaptureFixture[str], words: list[str], told: str
) -> None:
    assert told in sentence(capsys, *words)


def test_an_unreadable_recipe_file_is_named_with_its_reason(
    capsys: pytest.CaptureFixture[str], tmp_path: pytest.TempPathFactory
) -> None:
    file = tmp_path / "mine.py"  # type: ignore[operator]
    file.write_text("def broken(:\n")
    assert "SyntaxError" in sentence(capsys, "run", f"{file}:broken")
    file.write_text("def number():\n    return 3\n")
    assert "must return a pipeline.recipe.Recipe" in sentence(capsys, "run", f"{file}:number")
    assert f"name one of its functions: {file}:number" in sentence(capsys, "run", str(file))


def test_the_command_line_and_our_recipes_load_neither_ray_nor_torch() -> None:
    look = (
        "import sys, pipeline.cli, pipeline.run.idle; print(*sys.modules.keys() & {'ray', 'torch', 'mlflow'})"
    )
    found = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    assert found.stdout.split() == []


def test_a_value_of_the_wrong_type_exits_with_two(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["train", "tvtsv2-tiny", "--launch.workers", "many"])
    assert stop.value.code == 2


def test_the_reason_is_found_inside_what_wrapped_it() -> None:
    inner = StorageError("The bucket s3://gone does not exist; create it or correct the address.")
    outer = RuntimeError("task failed\nmany\nlines")
    outer.__cause__ = inner
    assert explain(outer).startswith("The bucket s3://gone")
    between = RuntimeError("the step failed")
    between.__cause__ = outer
    assert explain(between).startswith("The bucket s3://gone")


def test_a_full_disk_says_so_and_that_the_command_continues() -> None:
    told = explain(OSError(errno.ENOSPC, "No space left on device", "/data/part-0.parquet"))
    assert "disk is full" in told
    assert "/data/part-0.parquet" in told


def named_in(hint: Any) -> Iterator[type]:
    """Dataclasses that a type names: all arms of unions, items of tuples and, of a family, all of our own kinds."""
    for part in get_args(hint):
        yield from named_in(part)
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        yield hint
    if isinstance(hint, type) and issubclass(hint, Tagged) and not hasattr(hint, "kind"):
        rows = TABLE[hint.family].items()
        yield from (hint.of_kind(kind) for kind, row in rows if isinstance(row.settings, str))


def reachable(*forms: type) -> list[type]:
    found, waiting = [], list(forms)
    while waiting:
        form = waiting.pop()
        if form not in found:
            found.append(form)
            hints = get_type_hints(form, include_extras=True)
            waiting += [named for each in dataclasses.fields(form) for named in named_in(hints[each.name])]
    return found


def types_of(value: object) -> Iterator[type]:
    """Dataclasses that a value is made of."""
    if dataclasses.is_dataclass(value):
        yield type(value)
        value = [getattr(value, each.name) for each in dataclasses.fields(value)]
    elif isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for each in value:
            yield from types_of(each)


def described(form: type) -> set[str]:
    """Fields with a docstring below them, found as tyro finds it."""
    parents = (each for each in form.__mro__ if dataclasses.is_dataclass(each))
    texts = (text for each in parents for text in docstring_parser.parse_from_object(each).params)
    return {text.arg_name for text in texts if text.description}


FORMS = reachable(*VERBS.values(), Export, Doctor)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: f"{form.__module__}.{form.__name__}")
def test_help_has_a_line_for_every_field(form: type) -> None:
    assert [each.name for each in dataclasses.fields(form) if each.name not in described(form)] == []


def test_all_settings_of_our_recipes_are_checked_and_those_that_none_of_them_chose() -> None:
    chosen = {form for recipe in OURS.values() for form in types_of(recipe())}
    assert chosen <= set(FORMS)
    assert {Ratio, Linear, FixedWindows, LogUniform} <= set(FORMS) - chosen
