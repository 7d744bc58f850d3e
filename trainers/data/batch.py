"""What a training step reads: one batch of clips, as tensors."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, TypeVar

import torch
from jaxtyping import Bool, Int64, UInt8
from torch import Tensor

from trainers.system_settings import SystemSettings

Record = TypeVar("Record")

Columns = Mapping[str, Tensor]
"""A batch as `Prepare` made it, in host memory."""
HOST = "host"
"""Metadata of a field that stays in host memory."""


@dataclass(frozen=True)
class Clips:
    """What every system knows of a batch; every field's first axis counts the clips."""

    frames: UInt8[Tensor, "b t crop crop 3"]
    """RGB windows of the stored frames; scaled and normalised on the training device."""
    valid: Bool[Tensor, " b"]
    """False: the row could not be read; it keeps its place and takes no part in any loss."""
    position: Int64[Tensor, " b"]
    """Number of the row in the stream's plan."""
    uids: UInt8[Tensor, "b 2 10"] = field(metadata={HOST: True})
    """Uids of the clip and of its medium as bytes, zeros where the row could not be read."""

    def __len__(self) -> int:
        return len(self.valid)


@dataclass(frozen=True)
class Batch:
    """Clips, and what the system reads of them: a frozen dataclass of its own whose fields are tensors (or absent,
    None) with the clips along the first axis."""

    clips: Clips
    inputs: Any

    def to(self, device: torch.device | str) -> "Batch":
        """The same batch on a device (asynchronously from pinned memory)."""
        return mapped(self, lambda tensor: tensor.to(device, non_blocking=True), host=False)

    def pinned(self) -> "Batch":
        """The same batch in page-locked memory."""
        return mapped(self, torch.Tensor.pin_memory)

    def rows(self, kept: slice) -> "Batch":
        """Some of its clips."""
        return mapped(self, lambda tensor: tensor[kept])

    def split(self, count: int, unit: int = 1) -> Iterator["Batch"]:
        """Parts of nearly equal size, in order, of whole units of so many clips; no more than there are units."""
        units = -(-len(self.clips) // unit)
        borders = [part * units // min(count, units) for part in range(min(count, units) + 1)]
        sizes = [high - low for low, high in pairwise(borders)]
        sizes.sort(reverse=True)  # larger ones first, as torch's tensor_split
        first = 0
        for size in sizes:
            yield self.rows(slice(first * unit, (first + size) * unit))
            first += size


def to_batch(columns: Columns, system: SystemSettings) -> Batch:
    """The columns of `Prepare` as a batch of a system."""
    return Batch(clips_of(columns), system.built().inputs(columns))


def clips_of(columns: Columns) -> Clips:
    """What every system knows of them."""
    return Clips(*(columns[field.name] for field in dataclasses.fields(Clips)))


def mapped(record: Record, change: Callable[[Tensor], Tensor], *, host: bool = True) -> Record:
    """A dataclass of tensors, and of such dataclasses, with every tensor changed; `host` False: but for those that stay
    in host memory."""
    changed: dict[str, Any] = {}
    for each in dataclasses.fields(record):  # type: ignore[arg-type]
        value = getattr(record, each.name)
        if dataclasses.is_dataclass(value):
            changed[each.name] = mapped(value, change, host=host)
        elif isinstance(value, Tensor) and (host or HOST not in each.metadata):
            changed[each.name] = change(value)
    return dataclasses.replace(record, **changed)  # type: ignore[type-var]


def tensors(record: Any) -> Iterator[Tensor]:
    """Every tensor of a dataclass of tensors."""
    for each in dataclasses.fields(record):
        value = getattr(record, each.name)
        if dataclasses.is_dataclass(value):
            yield from tensors(value)
        elif isinstance(value, Tensor):
            yield value


def joined(records: list[Record]) -> Record:
    """The clips of several batches in one; or of parts of them."""
    first = records[0]
    values: dict[str, Any] = {}
    for each in dataclasses.fields(first):  # type: ignore[arg-type]
        own = [getattr(record, each.name) for record in records]
        if dataclasses.is_dataclass(own[0]):
            values[each.name] = joined(own)
        elif isinstance(own[0], Tensor):
            values[each.name] = torch.cat(own)
    return dataclasses.replace(first, **values)  # type: ignore[type-var]
