"""What a user typed wrong is answered in one sentence and a non-zero exit."""

import errno

import pytest

from infra.errors import StorageError
from pipeline.cli import explain, main


def sentence(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    with pytest.raises(SystemExit) as stop:
        main(list(words))
    assert stop.value.code not in (0, None)
    shown = capsys.readouterr().err
    assert "Traceback" not in shown
    return shown


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["trian"], "did you mean train"),
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


def test_a_value_of_the_wrong_type_exits_with_two(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["train", "tvtsv2-tiny", "--launch.workers", "many"])
    assert stop.value.code == 2


def test_the_reason_is_found_inside_what_wrapped_it() -> None:
    inner = StorageError("The bucket s3://gone does not exist; create it or correct the address.")
    outer = RuntimeError("task failed\nmany\nlines")
    outer.__cause__ = inner
    assert explain(outer).startswith("The bucket s3://gone")


def test_a_full_disk_says_so_and_that_the_command_continues() -> None:
    told = explain(OSError(errno.ENOSPC, "No space left on device", "/data/part-0.parquet"))
    assert "disk is full" in told
    assert "/data/part-0.parquet" in told
