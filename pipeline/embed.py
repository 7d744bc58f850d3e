"""Clips and their texts to features, as a Ray Data job: stored clips -> an actor with models -> numpy."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import ray.data
import torch
from numpy.typing import NDArray
from torch import Tensor

from infra import session
from infra.errors import UserError
from trainers.batch import trim_padding
from trainers.checkpoint import load_model
from trainers.data import Prepare
from trainers.inputs import to_input
from trainers.loop import first_weights
from trainers.models.tokenizers import ClipTokenizer
from trainers.models.video_text import VideoTextModel
from trainers.objectives.contrastive import unit
from trainers.recipe import Model, Pixels, Stream, Training

Load = Callable[[], VideoTextModel]
"""Gives the model, on the worker that needs it: a `Checkpoint`, or `Fresh` weights."""
Texts = Mapping[str, Sequence[str]]
"""The texts of one medium by register."""
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Checkpoint:
    """Trained weights: the folder or URI of a checkpoint."""

    uri: str

    def __call__(self) -> VideoTextModel:
        """The model with these weights."""
        return load_model(self.uri)[0]


@dataclass(frozen=True)
class Fresh:
    """Random weights of a seed."""

    model: Model
    seed: int = 0

    def __call__(self) -> VideoTextModel:
        """The model with these weights."""
        return VideoTextModel.fresh(self.model, self.seed)


@dataclass(frozen=True)
class StartWeights:
    """What the first stage of a training starts from: `training.init`, or fresh weights."""

    training: Training

    def __call__(self) -> VideoTextModel:
        """The model with these weights."""
        return first_weights(self.training)


@dataclass(frozen=True)
class Embeddings:
    """Features of n clips in stored order, not normalised, and what the sorting head says of m <= n of them.

    Those m have K transcripts; `sorting` shows the head their own video, `control` another clip's.
    """

    uids: list[str]
    media_uids: list[str]
    video: Floats
    """[n, d]"""
    texts: Mapping[str, Floats]
    """Register -> [n, d]: the mean over a clip's texts of that register, as in the contrastive objective."""
    sorting: Floats
    """[m, k, k]: row i says where in time transcript i belongs."""
    control: Floats
    """[m, k, k]"""
    classes: Mapping[str, Floats] = field(default_factory=dict)
    """Set of classes -> [n, classes]: cosine of each clip with each class prompt."""


def embed(
    streams: Mapping[str, ray.data.Dataset],
    models: Mapping[str, Load],
    texts: Mapping[str, Texts],
    frame_pixels: Pixels,
    num_frames: int,
    batch_size: int,
    classes: Texts | None = None,
) -> dict[str, dict[str, Embeddings]]:
    """Every stream's clips through every model: model name -> stream name -> embeddings.

    The first clip of each medium that `texts` names (by media uid), as published for evaluation (TVTSv2, section
    13): middle frames, central crop, no mask. One job for all, since frames are prepared once and an actor's start
    costs more than a small model's work. `classes`: class prompts by the
    name of their set. UserError if a stream has no clip with texts or a clip cannot be read.
    """
    joined = session.start()
    plan = session.plan_cpus(joined.num_cpus)
    on_gpu = joined.num_gpus > 0
    worker = {"models": models, "texts": texts, "frame_pixels": frame_pixels, "num_frames": num_frames}
    named = [
        clips.map_batches(_Named(name), batch_size=None, batch_format="pyarrow", num_cpus=0.5)
        for name, clips in streams.items()
    ]
    encoded = (named[0].union(*named[1:]) if len(named) > 1 else named[0]).map_batches(
        Encoder,
        fn_constructor_kwargs={**worker, "batch_size": batch_size, "classes": classes, "on_gpu": on_gpu},
        batch_size=8 * batch_size if on_gpu else None,  # whole blocks; with GPUs Ray Data wants a number
        batch_format="pyarrow",
        num_cpus=plan.reader,
        num_gpus=1 if on_gpu else 0,
        compute=ray.data.ActorPoolStrategy(size=_num_actors(joined, plan, on_gpu)),
    )
    encoded.context.execution_options.preserve_order = True
    blocks = list(encoded.iter_batches(batch_size=None, batch_format="numpy"))
    return {model: {name: gather(blocks, model, name) for name in streams} for model in models}


def embed_here(encoder: "Encoder", stream: str, clips: Iterable[pa.Table]) -> Embeddings:
    """The clips of a stream through the one model of an encoder of this process. UserError as for `embed`."""
    (model,) = encoder.models
    named = map(_Named(stream), clips)
    return gather([found for block in named for found in encoder(block)], model, stream)


@dataclass(frozen=True)
class _Named:
    """Clips with the name of their stream."""

    stream: str

    def __call__(self, rows: pa.Table) -> pa.Table:
        return rows.append_column("stream", pa.array([self.stream] * rows.num_rows))


def _num_actors(joined: session.Session, plan: session.CpuPlan, on_gpu: bool) -> int:
    """One model on this machine uses all its cores, and each further actor would cost a start of seconds."""
    if on_gpu:
        return int(joined.num_gpus)
    return 1 if joined.local else plan.readers


class Encoder:
    """Holds the models; a block of stored clips in, their features out, a stream at a time. No texts, no features."""

    def __init__(
        self,
        models: Mapping[str, Load],
        texts: Mapping[str, Texts],
        frame_pixels: Pixels,
        num_frames: int,
        batch_size: int,
        classes: Texts | None = None,
        *,
        on_gpu: bool = False,
        threads: int = 0,
    ) -> None:
        self.device = torch.device("cuda" if on_gpu else "cpu")
        torch.set_num_threads(threads or session.machine_cores())
        self.models = {name: load().to(self.device).eval() for name, load in models.items()}
        self.texts, self.pixels, self.batch_size = texts, frame_pixels, batch_size
        config = next(iter(self.models.values())).config
        self.side = config.video.image_size
        self.tokenizer = ClipTokenizer(config.text.context)
        stream = Stream("evaluation", batch_size, "captions", {}, frames=num_frames)
        self.prepare = Prepare(stream, config, frame_pixels, seed=0, training=False)
        self.classes = {
            name: {kind: self._prompts(model, prompts) for kind, prompts in (classes or {}).items()}
            for name, model in self.models.items()
        }

    @torch.inference_mode()
    def __call__(self, block: pa.Table) -> Iterator[dict[str, Any]]:
        named = block.filter(pa.array([uid in self.texts for uid in block["media_uid"].to_pylist()]))
        streams = [named.filter(pc.equal(named["stream"], stream)) for stream in named["stream"].unique()]
        for rows in (rows for stream in streams for rows in even_slices(stream, self.batch_size)):
            media_uids = rows["media_uid"].to_pylist()
            said = [[u["text"] for u in clip or ()] for clip in rows["transcripts"].to_pylist()]
            frames = self._frames(rows)
            columns = {name: np.array(rows[name].to_pylist()) for name in ("uid", "media_uid", "stream")}
            for name, model in self.models.items():
                found = self._encode(name, model, frames, media_uids, said)
                columns |= {f"{name}/{column}": values for column, values in found.items()}
            yield columns

    @torch.inference_mode()
    def _prompts(self, model: VideoTextModel, prompts: Sequence[str]) -> Tensor:
        return unit(self._features(model, prompts)).T

    def _encode(
        self,
        name: str,
        model: VideoTextModel,
        frames: Tensor,
        media_uids: Sequence[str],
        said: Sequence[Sequence[str]],
    ) -> dict[str, Any]:
        video = model.encode_video(frames)
        pooled = unit(video.pooled)
        classes = {
            f"classes/{kind}": (pooled @ prompts).float().cpu().numpy()
            for kind, prompts in self.classes[name].items()
        }
        registers = self.texts[media_uids[0]]
        means = {f"texts/{name}": self._mean_texts(model, media_uids, name) for name in registers}
        sorted_ = self._sort(model, video.sequence, said)
        return {"video": video.pooled.float().cpu().numpy(), **means, **classes, **sorted_}

    def _frames(self, rows: pa.Table) -> Tensor:
        """What the video tower reads, on the device."""
        columns = self.prepare(_with_plan(rows))
        if not columns["valid"].all():
            broken = rows["uid"].to_pylist()[int(np.argmin(columns["valid"]))]
            raise UserError(f"clip {broken} of the evaluation has no frame that can be read; ingest it again")
        return to_input(torch.from_numpy(columns["frames"]).to(self.device), self.side, self.pixels)

    def _mean_texts(self, model: VideoTextModel, media_uids: Sequence[str], register: str) -> Floats:
        texts = [self.texts[uid][register] for uid in media_uids]
        features = self._features(model, [text for own in texts for text in own])
        parts = features.split([len(own) for own in texts])
        means: Floats = torch.stack([part.mean(dim=0) for part in parts]).float().cpu().numpy()
        return means

    def _features(self, model: VideoTextModel, texts: Sequence[str]) -> Tensor:
        return model.encode_text(trim_padding(torch.from_numpy(self.tokenizer(texts))).to(self.device))

    def _sort(self, model: VideoTextModel, sequence: Tensor, said: Sequence[Sequence[str]]) -> dict[str, Any]:
        """Logits with a clip's own video and with the next one's of the batch; zeros where not `sorted`."""
        count = model.config.sorting.transcripts
        sortable = np.array([len(texts) == count for texts in said])
        logits = np.zeros((2, len(said), count, count), np.float32)
        if sortable.any():
            texts = [text for own, fits in zip(said, sortable, strict=True) if fits for text in own]
            features = self._features(model, texts).unflatten(0, (-1, count))
            own = sequence[torch.from_numpy(sortable).to(self.device)]
            for index, video in enumerate((own, own.roll(1, 0))):
                logits[index, sortable] = model.sorting(video, features).float().cpu().numpy()
        strange = sortable & (sortable.sum() > 1)  # a clip that is alone in its batch would meet itself
        return {"sorting": logits[0], "sorted": sortable, "control": logits[1], "controlled": strange}


def _with_plan(rows: pa.Table) -> pa.Table:
    """What the preparation asks for beside the clip. Texts come from the caption file, not from the clip."""
    count = rows.num_rows
    unread = pa.array([[""]] * count, pa.list_(pa.string()))
    rows = rows.set_column(rows.column_names.index("captions"), "captions", unread)
    rows = rows.append_column("position", pa.array(range(count), pa.int64()))
    rows = rows.append_column("epoch", pa.array([0] * count, pa.int64()))
    return rows.append_column("valid", pa.array([True] * count))


def even_slices(rows: pa.Table, most: int) -> list[pa.Table]:
    """The rows in as few slices of at most `most` as possible, their sizes differing by one at most.

    So no clip is left alone in its batch while others could lend it a video for the control.
    """
    slices = -(-rows.num_rows // most)
    borders = [rows.num_rows * index // max(1, slices) for index in range(slices + 1)]
    return [rows.slice(first, end - first) for first, end in pairwise(borders)]


def gather(blocks: Sequence[Mapping[str, Any]], model: str, stream: str) -> Embeddings:
    """What the blocks hold of one model and stream, in their order, the first clip of each medium."""
    own = [block for block in blocks if block["stream"][0] == stream]
    if not own:
        raise UserError(
            f"no clip of the stream {stream!r} has texts in the caption file; check evaluation.captions"
        )
    plain = {name: np.concatenate([block[name] for block in own]) for name in ("uid", "media_uid")}
    first = np.sort(np.unique(plain["media_uid"], return_index=True)[1])
    names = [name for name in own[0] if name.startswith(f"{model}/")]
    columns = {
        name.partition("/")[2]: np.concatenate([block[name] for block in own])[first] for name in names
    }
    for name, values in columns.items():
        if not np.isfinite(values).all():
            raise UserError(f"the {model} weights give {name} features that are not finite; they are broken")
    return Embeddings(
        uids=plain["uid"][first].tolist(),
        media_uids=plain["media_uid"][first].tolist(),
        video=columns["video"],
        texts=_below(columns, "texts/"),
        sorting=columns["sorting"][columns["sorted"]],
        control=columns["control"][columns["controlled"]],
        classes=_below(columns, "classes/"),
    )


def _below(columns: Mapping[str, Floats], prefix: str) -> dict[str, Floats]:
    return {name.removeprefix(prefix): values for name, values in columns.items() if name.startswith(prefix)}
