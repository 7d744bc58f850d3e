"""What is refused of protocols before anything is trained."""

from dataclasses import dataclass, replace
from typing import Literal

import pytest

from tests.trainers.tiny import SYSTEM
from trainers.evaluation.protocol import Declared, HeldOut, Measured, Protocol, declared_by, said

HELD_OUT = HeldOut("test", SYSTEM, {}, {})
FOUND = Declared(
    "found", "found", "Found", sentence="{hits:.3g} of {trials}, {level}{start}, {kept.value:.0f} kept."
)
KEPT = Declared("kept", "kept", "Found")


@dataclass(frozen=True)
class Declares(Protocol):
    """Whatever it is told to."""

    numbers: tuple[Declared, ...] = (FOUND, KEPT)
    kind: Literal["declares"] = "declares"

    def declares(self, held_out: HeldOut) -> tuple[Declared, ...]:
        return self.numbers


def refused(*numbers: Declared) -> str:
    with pytest.raises(ValueError, match=r".") as refusal:
        declared_by([Declares(numbers)], HELD_OUT)
    return str(refusal.value)


def test_a_number_that_two_protocols_give_is_refused() -> None:
    assert list(declared_by([Declares()], HELD_OUT)) == ["found", "kept"]
    with pytest.raises(ValueError, match=r"two protocols give a number 'found'"):
        declared_by([Declares(), Declares((FOUND,))], HELD_OUT)


def test_a_sentence_that_names_what_nothing_declares_is_refused_and_so_is_a_control_of_it() -> None:
    assert refused(FOUND) == "the sentence of found cannot be said (KeyError('kept'))"
    assert "cannot be said" in refused(replace(FOUND, sentence="{level:.3g}"), KEPT)
    assert "cannot be said" in refused(replace(FOUND, sentence="{start}", beside_start="{begun}"))
    assert refused(replace(KEPT, control_of="lost")) == "kept is the control of lost, which nothing declares"


def test_a_sentence_tells_hits_of_trials_and_other_numbers_and_of_the_start_only_where_there_is_one() -> None:
    declared = replace(FOUND, beside_start="; before: {start_hits:.3g}")
    kept = Measured(KEPT, 80.0)
    found = Measured(declared, 30.0, 1.0, 50)
    assert said(found, {"kept": kept}, "surely", None) == "15 of 50, surely, 80 kept."
    before = replace(found, value=2.0)
    assert said(found, {"kept": kept}, "surely", before) == "15 of 50, surely; before: 1, 80 kept."
