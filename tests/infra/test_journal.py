"""Which steps count as finished."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from infra.journal import Journal, fingerprint


@dataclass(frozen=True)
class Inner:
    depth: int = 1


@dataclass(frozen=True)
class Settings:
    inner: Inner = Inner()
    names: tuple[str, ...] = ("a", "b")


class Work:
    """Counts how often it is done."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> Mapping[str, object]:
        self.times += 1
        return {"checkpoint": f"number {self.times}"}


def test_a_finished_step_is_done_again_only_with_other_inputs_and_the_last_inputs_count(
    tmp_path: Path,
) -> None:
    journal, work = Journal(str(tmp_path)), Work()
    first = journal.do("seed-0/stage", "x", work)
    assert (first.result, first.earlier) == ({"checkpoint": "number 1"}, False)
    again = Journal(str(tmp_path)).do("seed-0/stage", "x", work)  # as another process would
    assert (again.result, again.earlier, again.seconds) == (first.result, True, first.seconds)
    assert journal.do("seed-0/stage", "y", work).result == {"checkpoint": "number 2"}
    assert journal.do("seed-0/stage", "x", work).result == {"checkpoint": "number 3"}
    assert journal.do("seed-1/stage", "x", work).result == {"checkpoint": "number 4"}


def test_a_step_can_be_asked_for_whatever_its_inputs_were(tmp_path: Path) -> None:
    journal = Journal(str(tmp_path))
    assert journal.done("stage") is None
    journal.record("stage", "x", {"value": 1}, 2.5)
    found = journal.done("stage")
    assert found is not None
    assert (found.name, found.result, found.seconds, found.earlier) == ("stage", {"value": 1}, 2.5, True)
    assert journal.done("stage", "x") == found
    assert journal.done("stage", "y") is None


def test_a_step_that_fails_is_not_finished_and_what_was_finished_before_stays(tmp_path: Path) -> None:
    journal = Journal(str(tmp_path))
    journal.record("stage", "x", {"value": 1}, 2.5)

    def fails() -> Mapping[str, object]:
        raise OSError("no place left")

    for name, inputs in (("stage", "y"), ("other", "x")):
        with pytest.raises(OSError, match="no place left"):
            journal.do(name, inputs, fails)
    assert journal.done("other") is None
    assert journal.done("stage", "x") is not None


def test_a_fingerprint_depends_on_every_value_at_every_depth_and_on_the_places_and_not_on_the_order_of_keys() -> (
    None
):
    settings = Settings()
    same = fingerprint(settings, {"a": 1, "b": 2}, None)
    assert same == fingerprint(Settings(), {"b": 2, "a": 1}, None)
    others = [
        fingerprint(replace(settings, inner=Inner(2)), {"a": 1, "b": 2}, None),
        fingerprint(replace(settings, names=("b", "a")), {"a": 1, "b": 2}, None),
        fingerprint(settings, {"a": 1, "b": 3}, None),
        fingerprint(settings, None, {"a": 1, "b": 2}),
        fingerprint(settings, {"a": 1, "b": 2}),
    ]
    assert len({same, *others}) == 6
