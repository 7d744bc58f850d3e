"""Renaming the entries of a checkpoint: strict, in both directions."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn

from infra.errors import UserError

_NAMED = 30
"""Names listed of each kind of fault: a file of another size differs in hundreds."""


@dataclass(frozen=True)
class Rule:
    """`theirs` and `ours` are names in which {i} stands for a block's number; a trailing {*} for any rest."""

    theirs: str
    ours: str


def to_ours(names: Iterable[str], rules: Sequence[Rule]) -> dict[str, str]:
    """{their name: our name}; names that no rule knows are left out."""
    return _rename(names, [(rule.theirs, rule.ours) for rule in rules])


def to_theirs(names: Iterable[str], rules: Sequence[Rule]) -> dict[str, str]:
    """{our name: their name}; names that no rule knows are left out."""
    return _rename(names, [(rule.ours, rule.theirs) for rule in rules])


def _rename(names: Iterable[str], pairs: Sequence[tuple[str, str]]) -> dict[str, str]:
    compiled = [(_pattern(source), _template(target)) for source, target in pairs]
    renamed = {}
    for name in names:
        for pattern, template in compiled:
            if match := pattern.fullmatch(name):
                renamed[name] = match.expand(template)
                break
    return renamed


def _pattern(name: str) -> re.Pattern[str]:
    escaped = re.escape(name)
    return re.compile(escaped.replace(r"\{i\}", r"(?P<i>\d+)").replace(r"\{\*\}", r"(?P<rest>.+)"))


def _template(name: str) -> str:
    return name.replace("{i}", r"\g<i>").replace("{*}", r"\g<rest>")


def copy_in(
    ours: Mapping[str, Tensor], entries: Mapping[str, Tensor], rules: Sequence[Rule], what: str
) -> None:
    """Copy entries under their names onto our tensors of the same meaning; UserError unless they fit exactly."""
    names = to_theirs(ours, rules)
    check(entries, {names[name]: value for name, value in ours.items()}, what)
    with torch.no_grad():
        for name, value in ours.items():
            value.copy_(entries[names[name]])


def fill(model: nn.Module, entries: Mapping[str, Tensor], what: str, names: Sequence[str] = ("*",)) -> None:
    """Load entries that carry the model's own names; UserError unless they fit exactly.

    Of tied weights only the first name is asked for, and a second may not say otherwise. `names`: shell patterns of
    those that have to be there; the others keep what the model has.
    """
    twins = tied(model)
    found = {name: value for name, value in entries.items() if name not in twins}
    check(found, own_weights(model, names), what)
    for name, first in twins.items():
        if name in entries and first in found and not torch.equal(entries[name], found[first]):
            raise UserError(f"{what} does not fit this model; {name} is tied to {first} and differs from it")
    model.load_state_dict(found, strict=False)


def tied(model: nn.Module) -> dict[str, str]:
    """{name: first name} of parameters that have several; weights are written once, under the first."""
    first: dict[int, str] = {}
    twins = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        if (known := first.setdefault(id(parameter), name)) != name:
            twins[name] = known
    return twins


def own_weights(model: nn.Module, names: Sequence[str] = ("*",)) -> dict[str, Tensor]:
    """The model's weights by name, tied ones once; `names`: shell patterns of those that are wanted."""
    twins = tied(model)
    return {
        name: value
        for name, value in model.state_dict().items()
        if name not in twins and any(fnmatchcase(name, pattern) for pattern in names)
    }


def export_as(ours: Mapping[str, Tensor], rules: Sequence[Rule]) -> dict[str, Tensor]:
    """Our tensors under their names."""
    names = to_theirs(ours, rules)
    return {names[name]: value.detach() for name, value in ours.items()}


def check(found: Mapping[str, Tensor], expected: Mapping[str, Tensor], what: str) -> None:
    """Raise UserError naming every missing, extra and misshapen entry."""
    missing = sorted(expected.keys() - found.keys())
    extra = sorted(found.keys() - expected.keys())
    misshapen = [
        f"{name} {tuple(found[name].shape)} instead of {tuple(expected[name].shape)}"
        for name in sorted(found.keys() & expected.keys())
        if found[name].shape != expected[name].shape
    ]
    faults = [
        f"{kind}: {_listed(names)}"
        for kind, names in (("missing", missing), ("extra", extra), ("misshapen", misshapen))
        if names
    ]
    if faults:
        raise UserError(f"{what} does not fit this model; " + "; ".join(faults))


def _listed(names: Sequence[str]) -> str:
    rest = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")
