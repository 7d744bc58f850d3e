"""Held-out clips through models, a Ray Data job a round: stored clips -> an actor with models -> what was collected."""

import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import ray.data
import torch
from numpy.typing import NDArray
from torch import nn

from infra import session
from infra.cpus import CpuPlan, machine_cores, plan_cpus
from infra.errors import UserError
from ingest.cluster.stored import StoredStream
from ingest.cluster.units import settled
from ingest.settings import Frames
from trainers.checkpoints.checkpoint import load_model
from trainers.data.batch import Batch, clips_of, to_batch
from trainers.data.frame_choice import FrameChoice
from trainers.data.inputs import to_input
from trainers.data.prepare import Prepare
from trainers.draws import Draws
from trainers.evaluation.protocol import Columns, HeldOut, Round
from trainers.evaluation.rounds import Collected, RoundsByModel
from trainers.evaluation.shown import Loaded, Shown
from trainers.loop.train import first_weights
from trainers.recipe import Pixels, Stream, Training
from trainers.system_settings import Reads, RowReader, SystemSettings

Load = Callable[[], tuple[nn.Module, SystemSettings]]
"""Gives a model and its sizes, on the worker that needs it: a `Checkpoint`, `Fresh` or `StartWeights`."""


@dataclass(frozen=True)
class Checkpoint:
    """Trained weights: the folder or URI of a checkpoint."""

    uri: str

    def __call__(self) -> tuple[nn.Module, SystemSettings]:
        """The model with these weights."""
        return load_model(self.uri)


@dataclass(frozen=True)
class Fresh:
    """Random weights of a seed."""

    system: SystemSettings
    seed: int = 0

    def __call__(self) -> tuple[nn.Module, SystemSettings]:
        """The model with these weights."""
        return self.system.built().fresh(self.system, self.seed), self.system


@dataclass(frozen=True)
class StartWeights:
    """What the first stage of a training starts from: its start weights, or fresh ones."""

    training: Training

    def __call__(self) -> tuple[nn.Module, SystemSettings]:
        """The model with these weights."""
        return first_weights(self.training), self.training.system


@dataclass(frozen=True)
class Gallery:
    """Held-out clips: where they are stored, and how they are shown to a model."""

    held_out: HeldOut
    store: str
    pixels: Pixels
    num_frames: int
    batch_size: int
    frames: Frames = Frames()
    """The settings that the store was made with."""
    reads: Reads | None = None
    """What the system reads of a row beside the frames; None: nothing."""

    @property
    def media(self) -> frozenset[str] | None:
        """The media that are taken where a round names none; None: all."""
        return frozenset(self.held_out.captions) or None

    @property
    def choice(self) -> FrameChoice:
        """The middle frame of each slice."""
        return FrameChoice(self.num_frames, seed=0, training=False)


def collect(gallery: Gallery, models: Mapping[str, Load], job: RoundsByModel) -> Collected:
    """What the rounds of a job collect, as one Ray Data job for all models: frames are prepared once, and an actor's
    start costs more than a small model's work.

    Clips are shown as published for evaluation (TVTSv2, section 13): middle frames, central crop, nothing drawn.
    UserError if a stream has no clip that is wanted, a clip cannot be read, or features are not finite.
    """
    joined = session.start()
    plan = plan_cpus(joined.num_cpus)
    on_gpu = joined.num_gpus > 0
    block_rows = 8 * gallery.batch_size if on_gpu else None  # whole blocks; with GPUs Ray Data wants a number
    named = [
        StoredStream(gallery.store, name, gallery.frames)
        .once(gallery.choice)
        .map_batches(_Named(name), batch_size=None, batch_format="pyarrow", num_cpus=0.5)
        for name in _streams(job)
    ]
    shown = (named[0].union(*named[1:]) if len(named) > 1 else named[0]).map_batches(
        _Actor,
        fn_constructor_kwargs={"gallery": gallery, "models": models, "job": job, "on_gpu": on_gpu},
        batch_size=block_rows,
        batch_format="pyarrow",
        num_cpus=plan.reader,
        num_gpus=1 if on_gpu else 0,
        compute=ray.data.ActorPoolStrategy(size=_num_actors(joined, plan, on_gpu)),
    )
    rows = settled(shown).iter_rows()
    return gathered([pickle.loads(row["part"]) for row in rows], job)


def collect_here(gallery: Gallery, models: "Models", job: RoundsByModel) -> Collected:
    """The same in this process, without Ray Data, which would take CPUs from a training."""
    collector, parts = Collector(gallery, models, job), list[Part]()
    for name in _streams(job):
        for block in StoredStream(gallery.store, name, gallery.frames).here(gallery.choice):
            parts += collector(_Named(name)(block))
    return gathered(parts, job)


def _streams(job: RoundsByModel) -> list[str]:
    names = (name for rounds in job.values() for each in rounds for name in each.streams)
    return list(dict.fromkeys(names))


@dataclass(frozen=True)
class _Named:
    """Clips with the name of their stream."""

    stream: str

    def __call__(self, rows: pa.Table) -> pa.Table:
        return rows.append_column("stream", pa.array([self.stream] * rows.num_rows))


def _num_actors(joined: session.Session, plan: CpuPlan, on_gpu: bool) -> int:
    """One model on this machine uses all its cores, and each further actor would cost a start of seconds."""
    if on_gpu:
        return int(joined.num_gpus)
    return 1 if joined.local else plan.readers


@dataclass(frozen=True)
class Models:
    """Models in evaluation mode on a device of this process, by name."""

    loaded: Mapping[str, Loaded]
    device: torch.device

    @classmethod
    def load(
        cls, models: Mapping[str, Load], held_out: HeldOut, *, on_gpu: bool = False, threads: int = 0
    ) -> "Models":
        """Load them all; `threads`: of this process, 0 for every core."""
        device = torch.device("cuda" if on_gpu else "cpu")
        torch.set_num_threads(threads or machine_cores())
        found = {}
        for name, load in models.items():
            model, system = load()
            found[name] = Loaded(model.to(device).eval(), system, device, held_out)
        return cls(found, device)


@dataclass(frozen=True)
class Part:
    """What one batch of clips of one stream gave."""

    stream: str
    uids: list[str]
    media_uids: list[str]
    columns: Mapping[tuple[str, int], Columns]
    """By model and the number of its round."""


class _Actor:
    """Loads the models once; blocks of stored clips in, parts out, as bytes: rounds collect what they like."""

    def __init__(
        self, gallery: Gallery, models: Mapping[str, Load], job: RoundsByModel, on_gpu: bool
    ) -> None:
        wanted = {name: models[name] for name in job}
        self._collector = Collector(gallery, Models.load(wanted, gallery.held_out, on_gpu=on_gpu), job)

    def __call__(self, block: pa.Table) -> Iterator[dict[str, list[bytes]]]:
        for part in self._collector(block):
            yield {"part": [pickle.dumps(part)]}


class Collector:
    """A block of stored clips in, what the rounds of a job collect out, a batch at a time."""

    @torch.inference_mode()
    def __init__(self, gallery: Gallery, models: Models, job: RoundsByModel) -> None:
        self._gallery, self._models, self._job = gallery, models, job
        self._collecting = {
            (name, place): each.collect(models.loaded[name])
            for name, rounds in job.items()
            for place, each in enumerate(rounds)
        }
        system = next(iter(models.loaded.values())).system
        stream = Stream("evaluation", gallery.batch_size, gallery.reads or _Nothing(), {}, gallery.num_frames)
        self._prepare = Prepare(stream, system, gallery.pixels, seed=0, training=False)

    @torch.inference_mode()
    def __call__(self, block: pa.Table) -> Iterator[Part]:
        """`block`: rows of CLIP_SCHEMA and the name of their stream."""
        for stream in block["stream"].unique().to_pylist():
            rows = block.filter(pc.equal(block["stream"], stream))
            for media, wanted in self._wanted(stream):
                taken = rows if media is None else rows.filter(_among(rows["media_uid"], media))
                for batch in even_slices(taken, self._gallery.batch_size):
                    yield self._part(stream, batch, wanted)

    def _wanted(self, stream: str) -> list[tuple[frozenset[str] | None, list[tuple[str, int]]]]:
        """The rounds that collect from a stream, those together that take the same media."""
        found: list[tuple[frozenset[str] | None, list[tuple[str, int]]]] = []
        for key in self._collecting:
            each = self._job[key[0]][key[1]]
            if stream not in each.streams:
                continue
            media = self._gallery.media if each.media is None else each.media
            same = next((keys for other, keys in found if other == media), None)
            if same is None:
                found.append((media, [key]))
            else:
                same.append(key)
        return found

    def _part(self, stream: str, rows: pa.Table, wanted: Sequence[tuple[str, int]]) -> Part:
        batch = self._batch(rows)
        rows = rows.drop_columns(["frames"])
        inputs: dict[int, torch.Tensor] = {}
        shown: dict[str, Shown] = {}
        columns = {}
        for name, place in wanted:
            if name not in shown:
                loaded = self._models.loaded[name]
                side = loaded.system.image_size
                if side not in inputs:
                    inputs[side] = to_input(batch.clips.frames, side, self._gallery.pixels)
                shown[name] = Shown(loaded, rows, batch, inputs[side])
            columns[name, place] = self._collecting[name, place](shown[name])
        return Part(stream, rows["uid"].to_pylist(), rows["media_uid"].to_pylist(), columns)

    def _batch(self, rows: pa.Table) -> Batch:
        """What all models are shown, on the device."""
        columns = self._prepare(_with_plan(rows))
        if not columns["valid"].all():
            broken = rows["uid"].to_pylist()[int(np.argmin(columns["valid"]))]
            lacks = "no frame that can be read"
            lacks += ", or not what evaluation.reads takes" if self._gallery.reads else ""
            raise UserError(f"clip {broken} of the evaluation has {lacks}; ingest it again")
        tensors = {
            name: torch.from_numpy(np.require(each, requirements="W")) for name, each in columns.items()
        }
        if self._gallery.reads:
            return to_batch(tensors, self._prepare.system).to(self._models.device)
        return Batch(clips_of(tensors), None).to(self._models.device)


def _among(uids: pa.ChunkedArray, media: frozenset[str]) -> pa.Array:
    return pa.array([uid in media for uid in uids.to_pylist()], pa.bool_())


@dataclass(frozen=True)
class _Nothing(Reads):
    """Frames alone. It never leaves its process, and is no kind of the table."""

    kind: Literal["nothing"] = "nothing"

    def reader(self, system: Any) -> RowReader:
        """For any system."""
        return _FramesAlone()


class _FramesAlone:
    columns: tuple[str, ...] = ()

    def read(self, row: Mapping[str, Any], draws: Draws | None) -> tuple[()]:
        return ()

    def unreadable(self, draws: Draws | None) -> tuple[()]:
        return ()

    def stack(self, rows: Sequence[tuple[()]]) -> dict[str, NDArray[np.generic]]:
        return {}


def _with_plan(rows: pa.Table) -> pa.Table:
    """What the preparation asks for beside the clip."""
    count = rows.num_rows
    rows = rows.append_column("position", pa.array(range(count), pa.int64()))
    rows = rows.append_column("epoch", pa.array([0] * count, pa.int64()))
    return rows.append_column("valid", pa.array([True] * count))


def even_slices(rows: pa.Table, most: int) -> list[pa.Table]:
    """The rows in as few slices of at most `most` as possible, their sizes differing by one at most.

    So no clip is left alone in its batch while others could lend it a video for a control.
    """
    slices = -(-rows.num_rows // most)
    borders = [rows.num_rows * index // max(1, slices) for index in range(slices + 1)]
    return [rows.slice(first, end - first) for first, end in pairwise(borders)]


def gathered(parts: Sequence[Part], job: RoundsByModel) -> Collected:
    """What the parts hold of each model's rounds, in their order."""
    return {
        name: [
            {stream: _columns(parts, (name, place), stream, each) for stream in each.streams}
            for place, each in enumerate(rounds)
        ]
        for name, rounds in job.items()
    }


def _columns(parts: Sequence[Part], key: tuple[str, int], stream: str, wanted: Round) -> Columns:
    """UserError where there is nothing, and for numbers that are not finite."""
    own = [part for part in parts if part.stream == stream and key in part.columns]
    if not own:
        raise UserError(
            f"no clip of the stream {stream!r} has texts in the caption file; check evaluation.captions"
        )
    media_uids = np.array([uid for part in own for uid in part.media_uids])
    kept = slice(None) if wanted.every_clip else np.sort(np.unique(media_uids, return_index=True)[1])
    found = {"uid": np.array([uid for part in own for uid in part.uids])[kept], "media_uid": media_uids[kept]}
    for name in own[0].columns[key]:
        values = np.concatenate([part.columns[key][name] for part in own])[kept]
        if np.issubdtype(values.dtype, np.floating) and not np.isfinite(values).all():
            raise UserError(f"the {key[0]} weights give {name} features that are not finite; they are broken")
        found[name] = values
    return found
