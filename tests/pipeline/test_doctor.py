"""Every check, on this machine and where something is missing."""

from pathlib import Path

import pytest

from pipeline import doctor
from pipeline.doctor import Check


def test_this_machine_has_what_is_required(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checks = {check.name: check for check in doctor.examine(str(tmp_path / "store"), None, with_ray=False)}
    assert {name for name, check in checks.items() if check.state == "missing"} == set()
    assert checks["decord"].found == "decodes H.264: 25 of 25 frames"
    assert list((tmp_path / "store").iterdir()) == []


def test_a_missing_package_is_named_with_the_command_that_brings_it() -> None:
    check = doctor.packages(["rich", "no-such-package"])
    assert (check.state, check.found) == ("missing", "not installed: no-such-package")
    assert check.remedy == "pip install no-such-package"


def test_a_python_that_was_not_tried_is_refused() -> None:
    assert doctor.python((3, 10, 9)).state == doctor.python((3, 14, 0)).state == "missing"
    assert doctor.python((3, 13, 0)).state == "ok"


def test_a_probe_that_breaks_is_a_row_and_not_a_crash() -> None:
    def broken() -> Check:
        raise RuntimeError("no codec\nmore")

    assert doctor.attempt("decoder", broken).found == "RuntimeError: no codec"


def test_a_password_is_not_shown() -> None:
    assert doctor.without_password("https://me:secret@host/path") == "https://host/path"
