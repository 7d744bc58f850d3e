"""How many lower text blocks a search keeps as they are."""

import re
from dataclasses import replace

from trainers.recipe import Training


def depths_of(depths: tuple[int, ...] | str, layers: int) -> tuple[int, ...]:
    """The depths of a list or of a range "FIRST:LAST[:STEP]", both ends included; of nothing 0, a quarter, half, three
    quarters and all of the blocks. ValueError for a depth that a tower of `layers` blocks does not have.
    """
    if isinstance(depths, str) and depths:
        found = _range(depths)
    elif depths:
        found = tuple(dict.fromkeys(int(depth) for depth in depths))
    else:
        found = tuple(dict.fromkeys(layers * quarter // 4 for quarter in range(5)))
    for depth in found:
        if not 0 <= depth <= layers:
            raise ValueError(
                f"search.depths: {depth} is not within 0 to {layers}, the blocks of the text tower"
            )
    return found


def _range(text: str) -> tuple[int, ...]:
    parts = re.fullmatch(r"(\d+)(?::(\d+))?(?::(\d+))?", text)
    if not parts or int(parts[3] or 1) < 1:
        raise ValueError(f"search.depths: {text!r} is neither a list nor a range such as 0:12:3")
    first, last = int(parts[1]), int(parts[2] or parts[1])
    return tuple(range(first, last + 1, int(parts[3] or 1)))


def with_depth(training: Training, stage_index: int, depth: int) -> Training:
    """The training with this many frozen text blocks in one stage."""
    stages = list(training.stages)
    stages[stage_index] = replace(stages[stage_index], frozen_text_blocks=depth)
    return replace(training, stages=tuple(stages))
