"""What decides the weights, given the shards: system, stages, optimiser, seed. Complete, typed data."""

import difflib
import math
from bisect import bisect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import accumulate
from typing import Literal

from trainers.draws import mixed
from trainers.launch_settings import Launch
from trainers.system_settings import ObjectiveSettings, Reads, SystemSettings

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


@dataclass(frozen=True)
class Pixels:
    """From stored frames to the tower's input (TVTSv2, 10.2)."""

    short_side: int = 268
    """Short side of the frame from which windows are cut; frames stored at this side are not resized before."""
    crop: int = 224
    """Side of the random (training) or central (evaluation) window."""
    resize: Literal["nearest", "bicubic"] = "nearest"
    """"nearest": frames of another side are resized by nearest neighbour before the window is cut, as published;
    fine patterns turn into false ones. "bicubic": the window, cut from the frame as stored and possibly larger
    than the tower's input, is resized to it on the training device, antialiased, as CLIP's own frames were.
    (Both measured: `trainers/models/README.md`.)"""
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    """Mean of each colour channel (red, green, blue; values from 0 to 1), which is subtracted."""
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    """Deviation of each, which divides. As published both are ImageNet's; CLIP's own are CLIP_MEAN and CLIP_STD."""


@dataclass(frozen=True)
class Stream:
    """One named stream of a stage: which clips, how many a step, what is read of them, which objectives."""

    name: str
    """Stream of the store, e.g. "narrated"."""
    batch_size: int
    """Clips per global batch; does not depend on the number of workers."""
    reads: Reads
    """What the system reads of a clip beside its frames."""
    objectives: dict[str, float]
    """Names of objectives of the stage and their weights in the sum."""
    frames: int = 12
    """Frames per clip, one drawn from each of as many equal slices (TVTSv2, 10.1); 1 for still images."""
    rows_per_unit: int = 4
    """u: rows per unit; a global batch is batch_size / u units, a multiple of every allowed worker count."""


@dataclass(frozen=True)
class Alternate:
    """Streams take turns, each with its own optimiser step (TVTSv2, section 9)."""

    kind: Literal["alternate"] = "alternate"
    """Which schedule this is."""

    def __call__(self, step: int, seed: int, num_streams: int) -> int:
        """Index of the stream of this step (steps count from 0)."""
        return step % num_streams


@dataclass(frozen=True)
class Ratio:
    """Streams take turns of so many steps each, spread evenly: of 3 and 1 the second comes once in four."""

    steps: tuple[int, ...]
    """Steps of each stream in a round."""
    kind: Literal["ratio"] = "ratio"
    """Which schedule this is."""

    def __call__(self, step: int, seed: int, num_streams: int) -> int:
        """Index of the stream of this step: the one that is furthest behind its share. ValueError unless every stream
        has a number of steps."""
        if len(self.steps) != num_streams or min(self.steps) < 0 or not sum(self.steps):
            raise ValueError(f"schedule.steps: {self.steps} are not the steps of {num_streams} streams")
        return _round(self.steps)[step % sum(self.steps)]


@cache
def _round(steps: tuple[int, ...]) -> tuple[int, ...]:
    total, taken, order = sum(steps), [0] * len(steps), []
    for place in range(1, total + 1):
        behind = [count * place - total * done for count, done in zip(steps, taken, strict=True)]
        index = behind.index(max(behind))
        taken[index] += 1
        order.append(index)
    return tuple(order)


@dataclass(frozen=True)
class SeededDraw:
    """The stream of every step is drawn, decided by the seed and the step alone."""

    shares: tuple[float, ...] = ()
    """How likely each stream is, beside the others; none: all alike."""
    kind: Literal["seeded_draw"] = "seeded_draw"
    """Which schedule this is."""

    def __call__(self, step: int, seed: int, num_streams: int) -> int:
        """Index of the stream of this step. ValueError unless every stream has a share."""
        shares = self.shares or (1.0,) * num_streams
        if len(shares) != num_streams or min(shares) < 0 or not sum(shares):
            raise ValueError(f"schedule.shares: {shares} are not the shares of {num_streams} streams")
        drawn = mixed("schedule", seed, step) / 2**63 * sum(shares)
        return min(bisect(list(accumulate(shares)), drawn), num_streams - 1)


Schedule = Alternate | Ratio | SeededDraw


@dataclass(frozen=True)
class Constant:
    """Rates stay as they are, after a warm-up."""

    warmup_steps: int = 0
    """Steps in which the rates rise to their full height; 0: no warm-up."""
    kind: Literal["constant"] = "constant"
    """Which course this is."""

    def __call__(self, step: int, steps: int) -> float:
        """What multiplies every rate in step number `step` (from 0) of `steps`."""
        return warm_up(step, self.warmup_steps) or 1.0


@dataclass(frozen=True)
class Drops:
    """Rates times 0.1 after each epoch of `epochs` (TVTSv2, section 8)."""

    steps_per_epoch: int
    """Steps that are counted as one epoch."""
    epochs: tuple[int, ...] = (6, 8)
    """Finished epochs after which the rates drop."""
    warmup_steps: int = 0
    """Steps in which the rates rise to their full height; 0: no warm-up."""
    kind: Literal["drops"] = "drops"
    """Which course this is."""

    def __call__(self, step: int, steps: int) -> float:
        """See `Constant`."""
        finished = step // self.steps_per_epoch
        return warm_up(step, self.warmup_steps) or float(
            0.1 ** sum(finished >= epoch for epoch in self.epochs)
        )


@dataclass(frozen=True)
class Linear:
    """Rates fall in a straight line to `floor` at the end."""

    warmup_steps: int = 0
    """Steps in which the rates rise to their full height; 0: no warm-up."""
    floor: float = 0.0
    """Share of the rates that is left at the end."""
    kind: Literal["linear"] = "linear"
    """Which course this is."""

    def __call__(self, step: int, steps: int) -> float:
        """See `Constant`."""
        through = (step - self.warmup_steps) / max(1, steps - self.warmup_steps)
        return warm_up(step, self.warmup_steps) or self.floor + (1 - self.floor) * (1 - through)


@dataclass(frozen=True)
class Cosine:
    """Rates fall along half a cosine to `floor` at the end."""

    warmup_steps: int = 0
    """Steps in which the rates rise to their full height; 0: no warm-up."""
    floor: float = 0.0
    """Share of the rates that is left at the end."""
    from_zero: bool = False
    """The warm-up begins with a step at rate 0, as in transformers' schedules; else with the first of its shares."""
    kind: Literal["cosine"] = "cosine"
    """Which course this is."""

    def __call__(self, step: int, steps: int) -> float:
        """See `Constant`."""
        if step < self.warmup_steps:
            return (step + (not self.from_zero)) / self.warmup_steps
        through = (step - self.warmup_steps) / max(1, steps - self.warmup_steps)
        return self.floor + (1 - self.floor) * (1 + math.cos(math.pi * through)) / 2


def warm_up(step: int, warmup_steps: int) -> float | None:
    """The share of the rates in a step of the warm-up; None after it."""
    return (step + 1) / warmup_steps if step < warmup_steps else None


Course = Constant | Drops | Linear | Cosine


@dataclass(frozen=True)
class Rate:
    """A learning rate and the parameters that have it."""

    lr: float
    """Learning rate, which the course multiplies."""
    names: tuple[str, ...] = ("*",)
    """Shell patterns of parameter names; one that matches nothing is an error."""


@dataclass(frozen=True)
class Optimizer:
    """AdamW, with rates and decay by the names of parameters (those of objectives begin with "objectives.")."""

    rates: dict[str, Rate] = field(default_factory=lambda: {"all": Rate(1e-4)})
    """By name, shown as lr/NAME: a parameter has the first rate of which a pattern matches."""
    weight_decay: float = 0.05
    """Times the learning rate, the share of a parameter that a step takes away."""
    undecayed: tuple[str, ...] = ()
    """Shell patterns of the names that are not decayed; one that matches nothing is an error."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Decay of the running means of the gradient and of its square."""
    eps: float = 1e-6
    """Added to the root of the mean square before it divides."""
    form: Literal["published", "torch"] = "published"
    """ "published": transformers 4.10.2's (eps on the uncorrected root, decay after the step); "torch":
    torch.optim.AdamW, fused. (Both measured: `trainers/models/README.md`.)"""
    unused: Literal["step", "skip"] = "step"
    """Parameters without a gradient in a step: "step" with a zero gradient as published, or "skip" them, so that what a
    stream does not use neither drifts nor decays. (Both measured: `trainers/models/README.md`.)"""
    course: Course = field(default_factory=Constant)
    """How all rates go up and down over the stage."""
    max_grad_norm: float | None = None
    """Gradient clipping; None as published."""


@dataclass(frozen=True)
class Begin:
    """What a stage does not take over from the stage before; all else is carried on, and must be there."""

    fresh: tuple[str, ...] = ()
    """Parts that start as they are built: first parts of parameter names ("head"), or "objectives.NAME" for the
    state of an objective. A momentum copy is built as a copy of the model as it begins the stage."""


@dataclass(frozen=True)
class Stage:
    """One stretch of training with fixed streams, objectives, schedule, freezing and optimiser."""

    name: str
    """What tables, trackers and folders call the stage."""
    streams: tuple[Stream, ...]
    """Streams of the store that the stage reads."""
    objectives: tuple[ObjectiveSettings, ...]
    """Those that the streams weigh, by their names."""
    steps: int
    """Optimiser steps."""
    optimizer: Optimizer = field(default_factory=Optimizer)
    """AdamW, with rates and decay by the names of parameters (those of objectives begin with "objectives.")."""
    schedule: Schedule = field(default_factory=Alternate)
    """Which stream a step takes."""
    train: tuple[str, ...] = ("*",)
    """Shell patterns of the names of parameters that are trained; one that matches nothing is an error."""
    freeze: tuple[str, ...] = ()
    """Shell patterns of those that are kept as they are all the same, e.g. "text.blocks.[0-8].*"."""
    frozen_below: dict[str, int] = field(default_factory=dict)
    """By tower ("text"), how many of its lowest blocks are kept as they are."""
    begin: Begin = field(default_factory=Begin)
    """What the stage does not take over from the stage before; all else is carried on, and must be there."""


@dataclass(frozen=True)
class Training:
    """System, stages and seed: with the shards they decide the weights."""

    system: SystemSettings
    """The system that is trained, and its sizes."""
    pixels: Pixels
    """From stored frames to the tower's input (TVTSv2, 10.2)."""
    stages: tuple[Stage, ...]
    """The stages, trained one after another."""
    seed: int = 0
    """Decides fresh weights and every draw of the training."""
    init: str | None = None
    """Start weights: a hub id (`owner/name` or `owner/name@revision`), or a file, folder or URI, in a layout that the
    system knows or our own (checkpoint or export); what it does not cover starts fresh. None: all fresh."""
    init_parts: dict[str, str] = field(default_factory=dict)
    """Places of start weights for single parts of the model (first parts of parameter names), each in a layout that the
    system knows of that part."""
    launch: Launch = field(default_factory=Launch)
    """How the loop is run; does not change what it computes."""

    def __post_init__(self) -> None:
        """Every tower has its number of frozen blocks, 0 where none was given, so that a search can name it.

        ValueError for a tower that there is not, more blocks than it has, and objectives that are not the stage's.
        """
        filled = tuple(_checked(stage, self.system.towers) for stage in self.stages)
        object.__setattr__(self, "stages", filled)

    @property
    def num_frames(self) -> int:
        """Frames of the longest clips, and so of those that are evaluated."""
        return max(stream.frames for stage in self.stages for stream in stage.streams)


def _checked(stage: Stage, towers: Mapping[str, int]) -> Stage:
    for tower, count in stage.frozen_below.items():
        if tower not in towers:
            raise ValueError(
                f"stage {stage.name!r}: frozen_below.{tower}: there is no such tower; {_known(tower, towers)}"
            )
        if not 0 <= count <= towers[tower]:
            raise ValueError(
                f"stage {stage.name!r}: frozen_below.{tower} is {count}, but the tower has {towers[tower]} blocks"
            )
    names = [objective.name for objective in stage.objectives]
    for stream in stage.streams:
        for name in stream.objectives:
            if name not in names:
                raise ValueError(
                    f"stream {stream.name!r}: objectives names an unknown {name!r}; {_known(name, names)}"
                )
    return replace(stage, frozen_below={tower: stage.frozen_below.get(tower, 0) for tower in towers})


def _known(name: str, names: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(names), n=1)
    return f"did you mean {near[0]!r}?" if near else f"there are {', '.join(names)}"
