"""The training loop, read top to bottom. It knows neither Ray nor MLflow: batches come in, numbers go out."""

import itertools
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import clip_grad_norm_

from infra.objects import join
from trainers.batch import Batch
from trainers.checkpoint import MODEL_FILE, State, load_state, load_weights
from trainers.freezing import freeze
from trainers.gathering import num_ranks
from trainers.models.starts import start_temporal_attention
from trainers.models.video_text import VideoTextModel
from trainers.models.weights.files import load_start, read_weights
from trainers.optimizers import build_optimizer, set_rates
from trainers.pixels import to_input
from trainers.recipe import Stage, Stream, Training
from trainers.task import Task

Batches = Iterator[tuple[Stream, Batch]]
"""This rank's part of one global batch a step, from the stream that the stage's schedule gives the step."""
Report = Callable[[int, Mapping[str, float]], None]
"""Called with the number of steps done and the metrics since the last call."""


@dataclass
class Learner:
    """What is being trained: the one object that changes."""

    training: Training
    stage: Stage
    task: Task
    forward: nn.Module
    """The task itself, or around it what averages its gradients over ranks."""
    optimizer: torch.optim.Optimizer
    device: torch.device
    step: int = 0
    """Optimiser steps done."""

    def losses(self, stream: Stream, batch: Batch) -> dict[str, Tensor]:
        """The stream's objectives on one batch; towers compute in the recipe's precision, losses in fp32."""
        batch = batch.to(self.device)
        images = to_input(batch.frames, self.training.model.video.image_size, self.training.pixels)
        low = self.training.launch.precision == "bf16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=low):
            found: dict[str, Tensor] = self.forward(stream, batch, images)
        return found

    def state(self) -> State:
        """What a checkpoint holds beside the weights."""
        generators = {"cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            generators["cuda"] = torch.cuda.get_rng_state(self.device)
        return State(self.step, self.optimizer.state_dict(), self.task.objectives.state_dict(), generators)


def build_learner(
    training: Training, stage_index: int, device: torch.device, start: str | None, resume: str | None
) -> Learner:
    """A learner at the beginning of a stage or, from the checkpoint `resume`, in the middle of it.

    `start`: checkpoint of the stage before; None: `training.init`, or fresh weights.
    """
    stage = training.stages[stage_index]
    torch.manual_seed(training.seed)
    model = VideoTextModel.fresh(training.model, training.seed)
    if checkpoint := resume or start:
        load_weights(model, join(checkpoint, MODEL_FILE))
    elif training.init:
        layout = load_start(model, read_weights(training.init), training.init)
        if layout in ("clip", "openclip"):  # they cover no temporal module, and one may copy what they cover
            start_temporal_attention(model.video, training.model.video.temporal_start)
    freeze(model, stage.freeze, stage.frozen_text_blocks)
    task = Task(model, stage.temperature, stage.gather).to(device)
    named = itertools.chain(model.named_parameters(), task.objectives.named_parameters("objectives"))
    optimizer = build_optimizer(named, stage.optimizer)
    learner = Learner(training, stage, task, _averaged(task), optimizer, device)
    if resume:
        _restore(learner, load_state(resume))
    return learner


def _averaged(task: Task) -> nn.Module:
    """Not every parameter takes part in every step: a captioned batch never meets the sorting head."""
    return DistributedDataParallel(task, find_unused_parameters=True) if num_ranks() > 1 else task


def _restore(learner: Learner, state: State) -> None:
    learner.optimizer.load_state_dict(state.optimizer)
    learner.task.objectives.load_state_dict(state.objectives)
    torch.set_rng_state(state.random["cpu"])
    if "cuda" in state.random and learner.device.type == "cuda":
        torch.cuda.set_rng_state(state.random["cuda"], learner.device)
    learner.step = state.step


def train(learner: Learner, batches: Batches, log: Report, save: Report) -> None:
    """Train to the end of the stage; `save` is called every `checkpoint_every` steps and after the last."""
    stage, launch, task, optimizer = learner.stage, learner.training.launch, learner.task, learner.optimizer
    max_grad_norm = stage.optimizer.max_grad_norm or float("inf")
    trained = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    window = Window()
    while learner.step < stage.steps:
        with window.waiting:
            stream, batch = next(batches)
        set_rates(optimizer, learner.step, stage.steps, stage.optimizer)
        task.before_step()
        losses = learner.losses(stream, batch)  # {"contrastive": …, "sorting": …}
        total = torch.stack([weight * losses[name] for name, weight in stream.objectives.items()]).sum()
        total.backward()
        grad_norm = clip_grad_norm_(trained, max_grad_norm)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        task.after_step()
        learner.step += 1
        window.add(stream, batch, losses, grad_norm)
        last = learner.step == stage.steps
        if learner.step % launch.log_every == 0 or last:
            log(learner.step, window.close(optimizer))
        if learner.step % launch.checkpoint_every == 0 or last:
            save(learner.step, window.latest)


class Window:
    """Means over the steps since metrics were last logged. Values stay on the device until then."""

    def __init__(self) -> None:
        self.latest: dict[str, float] = {}
        """What was logged last."""
        self.waiting = Stopwatch()
        self._clear()

    def _clear(self) -> None:
        self._values: dict[str, list[Tensor]] = defaultdict(list)
        self._clips = 0
        self._started = time.perf_counter()
        self.waiting.seconds = 0.0

    def add(self, stream: Stream, batch: Batch, losses: Mapping[str, Tensor], grad_norm: Tensor) -> None:
        """Take one step."""
        for name, loss in losses.items():
            self._values[f"{stream.name}/{name}"].append(loss.detach())
        self._values[f"{stream.name}/grad_norm"].append(grad_norm.detach())
        self._values["unreadable_share"].append(1 - batch.valid.float().mean())
        self._clips += stream.batch_size

    def close(self, optimizer: torch.optim.Optimizer) -> dict[str, float]:
        """The means: losses by stream and name, gradient norm, rates, clips/s, share of the time waiting."""
        means = {name: float(torch.stack(values).mean()) for name, values in self._values.items()}
        seconds = time.perf_counter() - self._started
        means |= {f"lr/{group['name']}": float(group["lr"]) for group in optimizer.param_groups}
        means |= {"clips_per_s": self._clips / seconds, "wait_share": self.waiting.seconds / seconds}
        self._clear()
        self.latest = means
        return means


class Stopwatch:
    """Seconds spent inside its `with` blocks."""

    seconds = 0.0

    def __enter__(self) -> None:
        self._entered = time.perf_counter()

    def __exit__(self, *exception: Any) -> None:
        self.seconds += time.perf_counter() - self._entered


def scheduled(stage: Stage, first: int, sources: list[Iterator[Batch]]) -> Batches:
    """From step `first` on, the stage's streams in the order of its schedule (the same on every rank)."""
    for step in range(first, stage.steps):
        index = stage.schedule(step, len(stage.streams))
        yield stage.streams[index], next(sources[index])
