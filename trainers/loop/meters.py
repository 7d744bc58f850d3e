"""What a run says of itself every few steps: losses, norms, rates, speed, memory."""

import resource
import sys
import time
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from trainers.data.batch import Batch
from trainers.data.feed import steps_of
from trainers.loop.flops import peak_flops, step_flops
from trainers.ranks import num_ranks
from trainers.recipe import Stage, Stream, Training


class Meters:
    """Means over the steps since metrics were last logged. Values stay on the device until then."""

    def __init__(self, training: Training, stage: Stage, steps_done: int, device: torch.device) -> None:
        self.latest: dict[str, float] = {}
        """What was logged last."""
        self.waiting = Stopwatch()
        self._device = device
        self._system = training.system
        self._note = training.system.built().note
        self._peak = peak_flops(device, training.launch.precision)
        self._flops = {s.name: step_flops(training.system, stage, s) for s in stage.streams}
        taken = (steps_of(stage, training.seed, index, 0, steps_done) for index in range(len(stage.streams)))
        self._samples_seen = sum(
            steps * stream.batch_size for steps, stream in zip(taken, stage.streams, strict=True)
        )
        self._number = 0
        self._clear()

    def _clear(self) -> None:
        self._values: dict[str, list[Tensor]] = defaultdict(list)
        self._clips = 0
        self._flops_done = 0.0
        self._started = time.perf_counter()
        self.waiting.seconds = 0.0

    def add(self, stream: Stream, batch: Batch, losses: Mapping[str, Tensor], grad_norm: Tensor) -> None:
        """Take one step."""
        self.note(stream, {**losses, "grad_norm": grad_norm})
        self._values["unreadable_share"].append(1 - batch.clips.valid.float().mean())
        for name, value in (self._note(self._system, batch) if self._note else {}).items():
            self._values[name].append(value)
        self._clips += stream.batch_size
        self._flops_done += (self._flops[stream.name] or 0.0) * stream.batch_size

    def note(self, stream: Stream, values: Mapping[str, Tensor]) -> None:
        """Take values of a step of this stream."""
        for name, value in values.items():
            self._values[f"{stream.name}/{name}"].append(value.detach())

    def is_new(self, stream: Stream, every: int = 1) -> bool:
        """True until a step of this stream was taken in this window, the first of `every`; for what costs time."""
        return self._number % every == 0 and f"{stream.name}/grad_norm" not in self._values

    def close(self, optimizer: torch.optim.Optimizer, skipped_steps: int) -> dict[str, float]:
        """The means and what goes with them; a skipped step's values that are not finite are left out.

        By stream: losses, `grad_norm` and that of every tower, what the system watches. `lr/…`, `clips_per_s` (all
        workers together), `samples_seen` and `skipped_steps` since the stage began, `wait_share` of the time waiting
        for data, `memory_gb`, `unreadable_share`, what the system notes of a batch; where it counts its arithmetic
        `tflops_per_s` and, where the device's peak is known, `mfu` of one worker.
        """
        found = {name: _mean_of_finite(values) for name, values in self._values.items()}
        means = {name: mean for name, mean in found.items() if mean is not None}
        seconds = time.perf_counter() - self._started
        self._samples_seen += self._clips
        flops_per_s = self._flops_done / seconds / num_ranks()
        means |= {f"lr/{group['name']}": float(group["lr"]) for group in optimizer.param_groups}
        means |= {"clips_per_s": self._clips / seconds, "wait_share": self.waiting.seconds / seconds}
        means |= {"samples_seen": self._samples_seen, "skipped_steps": skipped_steps}
        means["memory_gb"] = peak_memory_gb(self._device)
        if flops_per_s:
            means["tflops_per_s"] = flops_per_s / 1e12
            means |= {"mfu": flops_per_s / self._peak} if self._peak else {}
        self._clear()
        self._number += 1
        self.latest = means
        return means


def peak_memory_gb(device: torch.device) -> float:
    """The most memory in use, in 10^9 bytes: on a GPU by tensors since the last call, else by this process ever."""
    if device.type == "cuda":
        peak = torch.cuda.max_memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        return peak / 1e9
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


def _mean_of_finite(values: list[Tensor]) -> float | None:
    each = torch.stack(values)
    finite = each[each.isfinite()]
    return float(finite.mean()) if len(finite) else None


class Stopwatch:
    """Seconds spent inside its `with` blocks."""

    seconds = 0.0

    def __enter__(self) -> None:
        self._entered = time.perf_counter()

    def __exit__(self, *exception: Any) -> None:
        self.seconds += time.perf_counter() - self._entered
