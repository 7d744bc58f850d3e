"""What protocols declare, and how it is said."""

import math
from collections.abc import Mapping, Sequence

from trainers.evaluation.protocol import Declared, HeldOut, Measured, Protocol


def declared_by(
    protocols: Sequence[Protocol], held_out: HeldOut, *, with_start: bool = True
) -> dict[str, Declared]:
    """Every number that the protocols can give, by name. ValueError for a name that two of them give, settings that do
    not fit, and sentences that could not be said."""
    found: dict[str, Declared] = {}
    for protocol in protocols:
        if protocol.needs_start and not with_start:
            continue
        for declared in protocol.declares(held_out):
            if declared.name in found:
                raise ValueError(f"evaluation.protocols: two protocols give a number {declared.name!r}")
            found[declared.name] = declared
    _check(found)
    return found


def _check(declared: Mapping[str, Declared]) -> None:
    """Before anything is trained, not in the report."""
    others = {name: Measured(each, 50.0, 50.0, 2) for name, each in declared.items()}
    for name, each in declared.items():
        if each.control_of and each.control_of not in declared:
            raise ValueError(f"{name} is the control of {each.control_of}, which nothing declares")
        said(others[name], others, each.good, others[name])


def said(measured: Measured, others: Mapping[str, Measured], level: str, start: Measured | None) -> str:
    """The declared sentence of a number, among all of the same weights, beside that of the start weights.

    ValueError for a sentence that names what there is not.
    """
    declared, trials = measured.declared, measured.trials
    chance = math.nan if measured.chance is None else measured.chance
    words = {
        **others,
        "value": measured.value,
        "chance": chance,
        "trials": trials,
        "hits": measured.value / 100 * trials,
        "chance_hits": chance / 100 * trials,
        "level": level,
        "start": "",
    }
    try:
        if start:
            past = {"start": start.value, "start_hits": start.value / 100 * trials}
            words["start"] = declared.beside_start.format_map(past)
        return declared.sentence.format_map(words)
    except (KeyError, ValueError, AttributeError, IndexError, TypeError) as error:
        raise ValueError(f"the sentence of {declared.name} cannot be said ({error!r})") from error
