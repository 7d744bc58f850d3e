"""What stops a run that goes nowhere: steps without a finite loss or gradient, and a device without memory."""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor

from infra.errors import UserError
from infra.objects import join, write_bytes
from trainers.launch_settings import Launch
from trainers.loop.trace import readable
from trainers.ranks import num_ranks, own_rank
from trainers.recipe import Stage, Stream

FOLDER = "skipped"
_ANY = ""  # stands for all streams together


def unit_or_nan(total: Float[Tensor, ""]) -> Float[Tensor, ""]:
    """The gradient that a backward pass begins with: one, or NaN where the loss is not finite.

    So a loss that is not finite on one rank spoils the averaged gradients of all, and all take the same decision from
    their norm, with no exchange of their own.
    """
    return 1 + 0 * total.detach()


@dataclass(frozen=True)
class _StepRecord:
    number: int
    stream: str
    uids: Tensor
    values: dict[str, Tensor]
    skipped: Tensor
    """1.0 or 0.0, on the device."""


class Guard:
    """Skips steps without a finite gradient, counts them, and stops the run after too many in a row.

    The optimiser reads the decision on the device, so that no step waits for the host; the host counts when `settle`
    is called.
    """

    def __init__(self, folder: str, most_in_a_row: int) -> None:
        """`folder`: URI of the run."""
        self._folder = folder
        self._most = most_in_a_row
        self._pending: list[_StepRecord] = []
        self._in_a_row: dict[str, list[_StepRecord]] = defaultdict(list)
        self._unread: dict[str, int] = defaultdict(int)

    def skip_unless_finite(
        self, optimizer: torch.optim.Optimizer, norm: Float[Tensor, ""]
    ) -> Float[Tensor, ""]:
        """Make the coming `optimizer.step()` do nothing if the gradients' norm is not finite: 1.0 then, else 0.0."""
        skipped = (~norm.isfinite()).float()
        optimizer.found_inf = skipped  # type: ignore[attr-defined]  # as torch's own GradScaler tells it
        return skipped

    def add(
        self, number: int, stream: Stream, uids: Tensor, values: Mapping[str, Tensor], skipped: Tensor
    ) -> None:
        """Step `number`, taken or skipped, with the uids of its clips, its losses and its gradient norm."""
        values = {name: value.detach() for name, value in values.items()}
        self._pending.append(_StepRecord(number, stream.name, uids, values, skipped))

    def settle(self) -> int:
        """Steps skipped since the last call. UserError, on every rank, after too many in a row; also after as many of a
        stream of which this rank could read no clip."""
        flags = torch.stack([step.skipped for step in self._pending]).tolist() if self._pending else []
        for step, skipped in zip(self._pending, flags, strict=True):
            self._count_unread(step)
            for name in (step.stream, _ANY):
                self._in_a_row[name] = [*self._in_a_row[name], step] if skipped else []
                if skipped and len(self._in_a_row[name]) >= self._most:
                    self._stop(self._in_a_row[name])
        self._pending = []
        return int(sum(flags))

    def _count_unread(self, step: _StepRecord) -> None:
        self._unread[step.stream] = 0 if step.uids.any() else self._unread[step.stream] + 1
        if self._unread[step.stream] >= self._most:
            raise UserError(
                f"stream {step.stream!r}: no clip of its last {self._unread[step.stream]} batches, up to step "
                f"{step.number}, could be read: its shards are damaged, or their frames are not what the recipe takes"
            )

    def _stop(self, steps: list[_StepRecord]) -> None:
        first, last = steps[0], steps[-1]
        uri = join(self._folder, FOLDER, f"steps-{first.number:08d}-{last.number:08d}.json")
        uids = _of_all_ranks([[uid for uid, _ in readable(step.uids)] for step in steps])
        found = [
            {
                "step": step.number,
                "stream": step.stream,
                **{name: str(float(value)) for name, value in step.values.items()},
                "uids": [uid for rank in uids for uid in rank[index]],
            }
            for index, step in enumerate(steps)
        ]
        if own_rank() == 0:
            write_bytes(uri, json.dumps(found, indent=1).encode())
        raise UserError(
            f"{len(steps)} steps in a row, {first.number} to {last.number}, had a loss or a gradient that is not "
            f"finite and were skipped; {uri} names their clips and losses: set those clips aside, or lower the rates"
        )


def _of_all_ranks(own: list[list[str]]) -> list[list[list[str]]]:
    if num_ranks() == 1:
        return [own]
    everyone: list[list[list[str]]] = [[]] * num_ranks()
    dist.all_gather_object(everyone, own)
    return everyone


@contextmanager
def memory_named(stage: Stage, launch: Launch) -> Iterator[None]:
    """A device that is full becomes one sentence that names the settings to change."""
    try:
        yield
    except (
        RuntimeError
    ) as error:  # allocators of GPU, CPU and network libraries each say it in their own words
        if not any(words in str(error) for words in ("out of memory", "can't allocate memory")):
            raise
        raise UserError(_memory_sentence(stage, launch)) from error


def _memory_sentence(stage: Stage, launch: Launch) -> str:
    sizes = ", ".join(f"{stream.name} {stream.batch_size // num_ranks()}" for stream in stage.streams)
    remedies = {
        "raise launch.parts": True,
        "set launch.checkpoint_activations": not launch.checkpoint_activations,
        "set launch.precision bf16": launch.precision != "bf16",
        "set launch.parallel fsdp": launch.parallel != "fsdp" and num_ranks() > 1,
        "lower the streams' batch_size": True,
    }
    left = ", ".join(remedy for remedy, helps in remedies.items() if helps)
    return (
        f"the device has too little memory for a step of stage {stage.name!r} (clips per worker: {sizes}): {left}, "
        "or take more workers"
    )
