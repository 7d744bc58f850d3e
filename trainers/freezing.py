"""Freezing is data: patterns over parameter names, and the lower text blocks (TVTSv2, section 5)."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from torch import nn


@dataclass(frozen=True)
class Count:
    """Parameters (elements, not tensors) of one tower."""

    trainable: int
    frozen: int


_TEXT_EMBEDDINGS = ("text.token_embedding.weight", "text.positional_embedding")


def freeze(
    model: nn.Module,
    patterns: Sequence[str] = (),
    frozen_text_blocks: int = 0,
    frozen_text_embeddings: bool = False,
) -> dict[str, Count]:
    """Keep the matching parameters as they are and train all others; returns counts per tower.

    Patterns are shell style ("text.blocks.[0-8].*"). ValueError for one that matches nothing, or for more
    text blocks than there are. The text embeddings below frozen blocks are trained unless they are frozen too.
    """
    names = [name for name, _ in model.named_parameters()]
    frozen = _lower_text_blocks(names, frozen_text_blocks)
    if frozen_text_embeddings:
        frozen |= set(_TEXT_EMBEDDINGS)
    for pattern in patterns:
        frozen |= _matching(names, pattern)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name not in frozen)
    return counts(model)


def counts(model: nn.Module) -> dict[str, Count]:
    """Trainable and frozen elements per tower (first part of the parameter names)."""
    found: dict[str, Count] = {}
    for name, parameter in model.named_parameters():
        tower = name.split(".", 1)[0]
        before = found.get(tower, Count(0, 0))
        size = parameter.numel()
        found[tower] = (
            Count(before.trainable + size, before.frozen)
            if parameter.requires_grad
            else Count(before.trainable, before.frozen + size)
        )
    return found


def _lower_text_blocks(names: Sequence[str], depth: int) -> set[str]:
    blocks = {int(name.split(".")[2]) for name in names if name.startswith("text.blocks.")}
    if not 0 <= depth <= len(blocks):
        raise ValueError(f"frozen_text_blocks is {depth}, but the text tower has {len(blocks)} blocks")
    return {name for name in names if name.startswith("text.blocks.") and int(name.split(".")[2]) < depth}


def _matching(names: Sequence[str], pattern: str) -> set[str]:
    matching = {name for name in names if fnmatchcase(name, pattern)}
    if not matching:
        near = difflib.get_close_matches(pattern, names, n=1, cutoff=0.3)
        raise ValueError(
            f"freeze: {pattern!r} matches no parameter" + (f"; near: {near[0]!r}" if near else "")
        )
    return matching
