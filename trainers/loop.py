"""The training loop, read top to bottom. It knows neither Ray nor MLflow: batches come in, numbers go out."""

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.nn.parallel import DistributedDataParallel

from trainers.accumulation import Computing, backward_in_parts, weighted_sum
from trainers.batch import Batch
from trainers.checkpoint import State, load_state, load_weights
from trainers.freezing import freeze
from trainers.gathering import num_ranks
from trainers.gradients import Gradients
from trainers.guards import Guard, memory_named, unit_or_nan
from trainers.inputs import to_input
from trainers.models.blocks import compile_blocks, recompute_activations
from trainers.models.starts import start_temporal_attention
from trainers.models.video_text import VideoTextModel
from trainers.models.weights.files import load_start, read_weights
from trainers.optimizers import build_optimizer, set_rates
from trainers.profiling import profiled
from trainers.recipe import Launch, Stage, Stream, Training
from trainers.sharding import load_optimizer, shard
from trainers.task import Features, Task
from trainers.trace import Trace
from trainers.window import Window

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
    """Steps of the stage done, skipped ones included."""
    skipped: int = 0
    """Those that changed nothing, because a loss or a gradient was not finite."""

    def backward(self, stream: Stream, batch: Batch) -> dict[str, Tensor]:
        """The stream's objectives on one batch; the gradients of their weighted sum are there afterwards."""
        batch, count = batch.to(self.device), self.training.launch.parts
        if count > 1:
            computing = Computing(self._features, self.losses)
            return backward_in_parts(self.task, self.forward, computing, stream, batch, count)
        losses = self.losses(stream, batch)
        total = weighted_sum(stream, losses)
        total.backward(unit_or_nan(total))
        return losses

    def losses(
        self, stream: Stream, batch: Batch, pulls: Mapping[str, Features] | None = None
    ) -> dict[str, Tensor]:
        """The stream's objectives on one batch; towers compute in the recipe's precision, losses in fp32.

        `pulls`: see `Task.forward`.
        """
        batch = batch.to(self.device)
        images = to_input(batch.frames, self.training.model.video.image_size, self.training.pixels)
        with self._precision():
            found: dict[str, Tensor] = self.forward(stream, batch, images, pulls)
        return found

    def _features(self, stream: Stream, batch: Batch) -> dict[str, Features]:
        images = to_input(batch.frames, self.training.model.video.image_size, self.training.pixels)
        with self._precision():
            return self.task.features(stream, batch, images)

    def temporal_share(self, stream: Stream, batch: Batch) -> dict[str, Tensor]:
        """How much of the video tower's attention is over time, of the batch's first clip; nothing for stills."""
        if stream.frames == 1:
            return {}
        frames, keep = batch.frames[:1].to(self.device), batch.keep[:1].to(self.device)
        images = to_input(frames, self.training.model.video.image_size, self.training.pixels)
        with self._precision():
            share = self.task.temporal_share(images, keep)
        if isinstance(self.task, FSDPModule):
            self.task.reshard()  # a backward pass does it otherwise, and the next step would read these weights again
        return {"temporal_share": share}

    def _precision(self) -> torch.autocast:
        low = self.training.launch.precision == "bf16"
        return torch.autocast(self.device.type, torch.bfloat16, enabled=low)

    def state(self) -> State:
        """What a checkpoint holds beside the weights."""
        generators = {"cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            generators["cuda"] = torch.cuda.get_rng_state(self.device)
        objectives = self.task.objectives.state_dict()
        return State(self.step, self.optimizer.state_dict(), objectives, generators, self.skipped)


def build_learner(
    training: Training, stage_index: int, device: torch.device, start: str | None, resume: str | None
) -> Learner:
    """A learner at the beginning of a stage or, from the checkpoint `resume`, in the middle of it.

    `start`: checkpoint of the stage before; None: `training.init`, or fresh weights.
    """
    stage = training.stages[stage_index]
    torch.manual_seed(training.seed)
    if checkpoint := resume or start:
        model = VideoTextModel.fresh(training.model, training.seed)
        load_weights(model, checkpoint)
    else:
        model = first_weights(training)
    freeze(model, stage.freeze, stage.frozen_text_blocks, stage.frozen_text_embeddings)
    if training.launch.checkpoint_activations:
        recompute_activations(model)
    if training.launch.compile:
        compile_blocks(model)
    task = Task(model, stage.temperature, stage.gather).to(device)
    forward = _parallel(task, training.launch)
    optimizer = build_optimizer(named_parameters(task), stage.optimizer)
    learner = Learner(training, stage, task, forward, optimizer, device)
    if resume:
        _restore(learner, load_state(resume))
    return learner


def first_weights(training: Training) -> VideoTextModel:
    """The model that the first stage starts from: `training.init`, or fresh weights."""
    model = VideoTextModel.fresh(training.model, training.seed)
    if training.init:
        layout = load_start(model, read_weights(training.init), training.init)
        if layout in ("clip", "openclip"):  # they cover no temporal module, and one may copy what they cover
            start_temporal_attention(model.video, training.model.video.temporal_start)
    return model


def named_parameters(task: Task) -> Iterator[tuple[str, nn.Parameter]]:
    """Those of the model by its own names, and those of the objectives."""
    return itertools.chain(task.model.named_parameters(), task.objectives.named_parameters("objectives"))


def _parallel(task: Task, launch: Launch) -> nn.Module:
    """Not every parameter takes part in every step: a captioned batch never meets the sorting head."""
    if num_ranks() == 1:
        return task
    if launch.parallel == "fsdp":
        return shard(task, low=launch.precision == "bf16")
    return DistributedDataParallel(task, find_unused_parameters=True)


def _restore(learner: Learner, state: State) -> None:
    load_optimizer(learner.optimizer, state.optimizer)
    learner.task.objectives.load_state_dict(state.objectives)
    torch.set_rng_state(state.random["cpu"])
    if "cuda" in state.random and learner.device.type == "cuda":
        torch.cuda.set_rng_state(state.random["cuda"], learner.device)
    learner.step, learner.skipped = state.step, state.skipped


def train(learner: Learner, batches: Batches, log: Report, save: Report, folder: str) -> None:
    """Train to the end of the stage; `save` is called every `checkpoint_every` steps and after the last.

    A step without a finite loss and gradient changes nothing; the schedules of rates and streams go on. `folder`: URI
    of the run, which gets what the settings ask for beside checkpoints. UserError after too many skipped steps in a
    row, and for a device without enough memory.
    """
    stage, launch, task, optimizer = learner.stage, learner.training.launch, learner.task, learner.optimizer
    gradients = Gradients(named_parameters(task), optimizer)
    guard = Guard(folder, launch.max_skipped)
    trace = Trace(folder, learner.step) if launch.trace_batches else None
    window = Window(learner.training, stage, learner.step, learner.device)
    with memory_named(stage, launch), profiled(launch.profile, folder) as profile_step:
        while learner.step < stage.steps:
            with window.waiting:
                stream, batch = next(batches)
            set_rates(optimizer, learner.step, stage.steps, stage.optimizer)
            task.before_step()
            losses = learner.backward(stream, batch)  # {"contrastive": …, "sorting": …}
            grad_norm = gradients.norm()
            if window.is_new(stream):
                window.note(stream, gradients.by_tower())
            if window.is_new(stream, every=10):  # it costs a pass over one clip
                window.note(stream, learner.temporal_share(stream, batch))
            gradients.clip(grad_norm, stage.optimizer.max_grad_norm)
            skipped = guard.skip_unless_finite(optimizer, grad_norm)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            task.after_step()
            learner.step += 1
            window.add(stream, batch, losses, grad_norm)
            guard.add(learner.step, stream, batch.uids, {**losses, "grad_norm": grad_norm}, skipped)
            if trace:
                trace.add(learner.step, stream.name, batch)
            last = learner.step == stage.steps
            if learner.step % launch.log_every == 0 or last:
                learner.skipped += guard.settle()
                log(learner.step, window.close(optimizer, learner.skipped))
            if learner.step % launch.checkpoint_every == 0 or last:
                learner.skipped += guard.settle()
                if trace:
                    trace.write(learner.step)
                save(learner.step, window.latest)
            profile_step()


def scheduled(stage: Stage, first: int, sources: list[Iterator[Batch]]) -> Batches:
    """From step `first` on, the stage's streams in the order of its schedule (the same on every rank)."""
    for step in range(first, stage.steps):
        index = stage.schedule(step, len(stage.streams))
        yield stage.streams[index], next(sources[index])
