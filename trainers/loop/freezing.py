"""Freezing is data: patterns over parameter names, and the lowest blocks of a tower (TVTSv2, section 5)."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from torch import nn

from trainers.models.blocks import Blocks


@dataclass(frozen=True)
class Count:
    """Parameters (elements, not tensors) of one part."""

    trainable: int
    frozen: int


def freeze(
    model: nn.Module,
    *,
    train: Sequence[str] = ("*",),
    freeze: Sequence[str] = (),
    frozen_below: Mapping[str, int] | None = None,
    objectives: nn.Module | None = None,
) -> dict[str, Count]:
    """Train what `train` matches but for what `freeze` matches and the lowest blocks of towers; returns counts by part.

    Patterns are shell style ("text.blocks.[0-8].*") over the model's names and, behind "objectives.", those of the
    objectives; without `objectives` patterns of theirs are passed over. What is built frozen (a momentum copy) stays
    so. ValueError for a pattern that matches nothing, or for more blocks than a tower has.
    """
    named = named_parameters(model, objectives)
    names = list(named)
    asked = {"train": train, "freeze": freeze}
    if objectives is None:
        asked = {
            field: [p for p in patterns if not p.startswith("objectives.")]
            for field, patterns in asked.items()
        }
    matched = {
        field: {name for pattern in patterns for name in matching(names, pattern, field)}
        for field, patterns in asked.items()
    }
    below = {
        name
        for tower, count in (frozen_below or {}).items()
        for block in _lowest_blocks(model, tower, count)
        for name in names
        if name.startswith(block)
    }
    trained = matched["train"] - matched["freeze"] - below
    for name, parameter in named.items():
        parameter.requires_grad_(parameter.requires_grad and name in trained)
    return counts(named)


def named_parameters(model: nn.Module, objectives: nn.Module | None = None) -> dict[str, nn.Parameter]:
    """Those of the model by its own names, and those of the objectives; tied ones once."""
    named = dict(model.named_parameters())
    return named | (dict(objectives.named_parameters("objectives")) if objectives is not None else {})


def counts(named: Mapping[str, nn.Parameter]) -> dict[str, Count]:
    """Trainable and frozen elements by part (first part of the parameter names)."""
    found: dict[str, Count] = {}
    for name, parameter in named.items():
        part = name.split(".", 1)[0]
        before = found.get(part, Count(0, 0))
        size = parameter.numel()
        found[part] = (
            Count(before.trainable + size, before.frozen)
            if parameter.requires_grad
            else Count(before.trainable, before.frozen + size)
        )
    return found


def _lowest_blocks(model: nn.Module, tower: str, count: int) -> list[str]:
    """Prefixes of the names below each of a tower's lowest blocks."""
    blocks = [
        f"{place}.{number}."
        for place, module in model.named_modules()
        if isinstance(module, Blocks) and place.split(".", 1)[0] == tower
        for number in range(len(module))
    ]
    if not 0 <= count <= len(blocks):
        raise ValueError(f"frozen_below.{tower} is {count}, but the tower has {len(blocks)} blocks")
    return blocks[:count]


def matching(names: Sequence[str], pattern: str, field: str) -> list[str]:
    """The names that a shell pattern matches. ValueError naming the field and a near name where there is none."""
    found = [name for name in names if fnmatchcase(name, pattern)]
    if not found:
        near = difflib.get_close_matches(pattern, names, n=1, cutoff=0.3)
        raise ValueError(
            f"{field}: {pattern!r} matches no parameter" + (f"; near: {near[0]!r}" if near else "")
        )
    return found
