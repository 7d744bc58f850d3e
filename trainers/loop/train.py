"""The training loop, read top to bottom. It knows neither Ray nor MLflow: batches come in, numbers go out."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from infra.errors import UserError
from trainers.checkpoints.checkpoint import State, carry_objectives, load_state, load_weights
from trainers.data.batch import Batch
from trainers.data.inputs import to_input
from trainers.draws import mixed
from trainers.launch_settings import Launch
from trainers.loop.freezing import freeze, named_parameters
from trainers.loop.gradients import Gradients
from trainers.loop.guards import Guard, memory_named, unit_or_nan
from trainers.loop.meters import Meters
from trainers.loop.optimizers import build_optimizer, set_rates
from trainers.loop.parts import Computing, backward_in_parts, means_of, weighted_sum
from trainers.loop.profiling import profiled
from trainers.loop.sharding import load_objectives, load_optimizer, shard
from trainers.loop.task import Task, task_of
from trainers.loop.trace import Trace
from trainers.models.blocks import compile_blocks, recompute_activations
from trainers.models.weights.files import read_weights
from trainers.models.weights.names import fill
from trainers.objectives.objective import Features, Loss
from trainers.ranks import num_ranks, own_rank
from trainers.recipe import Stage, Stream, Training

Batches = Iterator[tuple[Stream, Batch]]
"""This rank's part of one global batch a step, on its device, from the stream that the schedule gives the step."""
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
        parts = self.training.launch.parts
        if parts > 1:
            computing = Computing(self._features, self.losses)
            split = list(batch.split(parts, unit_of(self.stage, stream)))
            return backward_in_parts(self.task, self.forward, computing, stream, split)
        losses = means_of(self.losses(stream, batch))
        total = weighted_sum(stream, losses)
        total.backward(unit_or_nan(total))
        return losses

    def losses(
        self, stream: Stream, batch: Batch, part: int = 0, pulls: Mapping[str, Features] | None = None
    ) -> dict[str, Loss]:
        """The stream's objectives on one batch, or on part number `part` of one; the model computes in the recipe's
        precision, losses in fp32. `pulls`: see `Task.forward`.
        """
        with self._alike(part):
            found: dict[str, Loss] = self.forward(stream, batch, self._pixels(batch), pulls)
        return found

    def _features(self, stream: Stream, batch: Batch, part: int) -> dict[str, dict[str, Tensor]]:
        with self._alike(part):
            return self.task.features(stream, batch, self._pixels(batch))

    def _pixels(self, batch: Batch) -> Tensor:
        return to_input(batch.clips.frames, self.training.system.image_size, self.training.pixels)

    def probe(self, stream: Stream, batch: Batch) -> dict[str, Tensor]:
        """What the system watches, of the batch's first clip."""
        clip = batch.rows(slice(1))
        with self._alike(part=-1):
            found = self.task.probe(stream, clip, self._pixels(clip))
        if self.training.launch.parallel == "fsdp" and num_ranks() > 1:
            task: Any = self.task  # FSDP gave it `reshard`
            task.reshard()  # a backward pass does it otherwise, and the next step would read these weights again
        return found

    @contextmanager
    def _alike(self, part: int) -> Iterator[None]:
        """Whatever is drawn on the device follows from (seed, stage, step, rank, part): a second pass over a part draws
        what the first drew, and a run that goes on what one draws that never stopped."""
        torch.manual_seed(mixed(self.training.seed, self.stage.name, self.step, own_rank(), part))
        with self._precision():
            yield

    def _precision(self) -> torch.autocast:
        low = self.training.launch.precision == "bf16"
        return torch.autocast(self.device.type, torch.bfloat16, enabled=low)

    def state(self) -> State:
        """What a checkpoint holds beside the weights."""
        return State(self.step, self.optimizer.state_dict(), self.task.objectives.state_dict(), self.skipped)


def build_learner(
    training: Training, stage_index: int, device: torch.device, start: str | None, resume: str | None
) -> Learner:
    """A learner at the beginning of a stage or, from the checkpoint `resume`, in the middle of it.

    `start`: checkpoint of the stage before; None: `training.init`, or fresh weights. ValueError for a recipe that does
    not fit the model, UserError for weights that do not.
    """
    stage = training.stages[stage_index]
    torch.manual_seed(training.seed)
    if checkpoint := resume or start:
        model = training.system.built().fresh(training.system, training.seed)
        load_weights(model, checkpoint, () if resume else stage.begin.fresh)
    else:
        model = first_weights(training)
    task = task_of(training.system, stage, model, training.pixels, device)
    if start and not resume:
        carry_objectives(task.objectives, start, stage.begin.fresh)
    freeze(
        model,
        train=stage.train,
        freeze=stage.freeze,
        frozen_below=stage.frozen_below,
        objectives=task.objectives,
    )
    if training.launch.checkpoint_activations:
        recompute_activations(task)
    if training.launch.compile:
        compile_blocks(task)
    forward = _parallel(task, training.launch)
    optimizer = build_optimizer(named_parameters(task.model, task.objectives), stage.optimizer)
    learner = Learner(training, stage, task, forward, optimizer, device)
    if resume:
        _restore(learner, load_state(resume))
    return learner


def first_weights(training: Training) -> nn.Module:
    """The model that the first stage starts from: `training.init` and `init_parts`, or fresh weights.

    UserError for weights in no layout that the system knows.
    """
    system = training.system.built()
    model: nn.Module = system.fresh(training.system, training.seed)
    if training.init:
        weights = read_weights(training.init)
        if model.state_dict().keys() & weights.keys():
            fill(model, weights, training.init)
        elif system.start:
            system.start(model, training.system, weights, training.init)
        else:
            raise UserError(f"{training.init}: not weights of this system, and it knows no other layout")
    for part, place in training.init_parts.items():
        if part not in system.start_parts:
            known = ", ".join(system.start_parts) or "none"
            raise ValueError(f"init_parts.{part}: the system starts no such part by itself; it has {known}")
        system.start_parts[part](model, training.system, read_weights(place), place)
    return model


def unit_of(stage: Stage, stream: Stream) -> int:
    """Clips that parts of a batch keep together. ValueError for an objective that needs the whole batch."""
    used = [each for each in stage.objectives if each.name in stream.objectives]
    if whole := [each.name for each in used if each.unit == "batch"]:
        raise ValueError(
            f"launch.parts: the objective {whole[0]!r} cannot be computed of parts of a batch; set it to 1"
        )
    return stream.rows_per_unit if any(each.unit == "unit" for each in used) else 1


def _parallel(task: Task, launch: Launch) -> nn.Module:
    """Not every parameter takes part in every step: a stream may leave an objective, and with it a head, out."""
    if num_ranks() == 1:
        return task
    if launch.parallel == "fsdp":
        return shard(task, low=launch.precision == "bf16")
    return DistributedDataParallel(task, find_unused_parameters=True)


def _restore(learner: Learner, state: State) -> None:
    load_optimizer(learner.optimizer, state.optimizer)
    load_objectives(learner.task.objectives, state.objectives)
    learner.step, learner.skipped = state.step, state.skipped


def train(
    learner: Learner, batches: Batches, log: Report, save: Report, folder: str, until: int | None = None
) -> None:
    """Train to the end of the stage, or to `until` steps of it; `save` is called every `checkpoint_every` and after
    the last.

    A step without a finite loss and gradient changes nothing; the schedules of rates and streams go on. `folder`: URI
    of the run, which gets what the settings ask for beside checkpoints. UserError after too many skipped steps in a
    row, and for a device without enough memory.
    """
    last_step = min(until or learner.stage.steps, learner.stage.steps)
    stage, launch, task, optimizer = learner.stage, learner.training.launch, learner.task, learner.optimizer
    gradients = Gradients(named_parameters(task.model, task.objectives).items(), optimizer)
    guard = Guard(folder, launch.max_skipped)
    trace = Trace(folder, learner.step) if launch.trace_batches else None
    meters = Meters(learner.training, stage, learner.step, learner.device)
    with memory_named(stage, launch), profiled(launch.profile, folder) as profile_step:
        while learner.step < last_step:
            with meters.waiting:
                stream, batch = next(batches)
            set_rates(optimizer, learner.step, stage.steps, stage.optimizer)
            task.before_step(learner.step)
            losses = learner.backward(stream, batch)  # by name of the objective
            grad_norm = gradients.norm()
            if meters.is_new(stream):
                meters.note(stream, gradients.by_tower())
            if meters.is_new(stream, every=10):  # it costs a pass over one clip
                meters.note(stream, learner.probe(stream, batch))
            gradients.clip(grad_norm, stage.optimizer.max_grad_norm)
            skipped = guard.skip_unless_finite(optimizer, grad_norm)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            task.after_step(1 - skipped)
            learner.step += 1
            meters.add(stream, batch, losses, grad_norm)
            guard.add(learner.step, stream, batch.clips.uids, {**losses, "grad_norm": grad_norm}, skipped)
            if trace:
                trace.add(learner.step, stream.name, batch)
            last = learner.step == last_step
            if learner.step % launch.log_every == 0 or last:
                learner.skipped += guard.settle()
                log(learner.step, meters.close(optimizer, learner.skipped))
            if learner.step % launch.checkpoint_every == 0 or last:
                learner.skipped += guard.settle()
                if trace:
                    trace.write(learner.step)
                save(learner.step, meters.latest)
            profile_step()


def scheduled(stage: Stage, seed: int, first: int, sources: list[Iterator[Batch]]) -> Batches:
    """From step `first` on, the stage's streams in the order of its schedule (the same on every rank)."""
    for step in range(first, stage.steps):
        index = stage.schedule(step, seed, len(stage.streams))
        yield stage.streams[index], next(sources[index])
