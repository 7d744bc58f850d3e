"""Zero-shot evaluation of one set of weights: retrieval in every register, sorting and control, twins."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from infra.errors import UserError
from infra.objects import read_bytes
from ingest.records import stable_uid
from ingest.settings import Frames
from ingest.streams import read_stored, stored_clips
from pipeline.embed import Embeddings, Encoder, Floats, Load, embed, embed_here
from pipeline.scores import Example, Hit, Scores
from trainers.evaluation.classification import classification_metrics
from trainers.evaluation.retrieval import retrieval_metrics, t2v_ranks
from trainers.evaluation.sorting import sorting_accuracy
from trainers.evaluation.twins import twin_accuracy
from trainers.frame_choice import FrameChoice
from trainers.objectives.contrastive import unit
from trainers.recipe import Pixels

REPORTED = ("R1", "R5", "R10", "MedR")
NUM_HITS = 5
EXAMPLES_PER_REGISTER = 2

Captions = Mapping[str, Mapping[str, list[str]]]
"""Media uid -> register -> the texts; a register of sentences has several."""


@dataclass(frozen=True)
class HeldOut:
    """What is evaluated on: a stream of a store with its texts, and the stream of twins, if there is one.

    `frames`: the settings the store was made with.
    """

    store: str
    stream: str
    captions: Captions
    twins: str | None = None
    frames: Frames = Frames()
    classes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Register -> class prompts: a clip belongs to every class whose prompt occurs in its text of that register."""


def evaluate(held_out: HeldOut, load: Load, pixels: Pixels, num_frames: int, batch_size: int) -> Scores:
    """Embed and score one set of weights."""
    return evaluate_each(held_out, {"given": load}, pixels, num_frames, batch_size)["given"]


def evaluate_each(
    held_out: HeldOut, models: Mapping[str, Load], pixels: Pixels, num_frames: int, batch_size: int
) -> dict[str, Scores]:
    """Embed and score several sets of weights of one shape in one job; scores by their names."""
    embedded = embed_each(held_out, models, pixels, num_frames, batch_size)
    return {
        name: score(found[held_out.stream], held_out.captions, found.get(held_out.twins or ""))
        for name, found in embedded.items()
    }


def evaluate_here(
    held_out: HeldOut,
    load: Load,
    pixels: Pixels,
    num_frames: int,
    batch_size: int,
    threads: int,
    on_gpu: bool,
) -> Scores:
    """Embed and score one set of weights in this process, without Ray Data, which would take CPUs from a training."""
    choice = FrameChoice(num_frames, seed=0, training=False)
    clips = read_stored(held_out.store, held_out.stream, choice=choice, frames=held_out.frames)
    encoder = Encoder(
        {"given": load}, held_out.captions, pixels, num_frames, batch_size, threads=threads, on_gpu=on_gpu
    )
    return score(embed_here(encoder, held_out.stream, clips), held_out.captions)


def embed_each(
    held_out: HeldOut, models: Mapping[str, Load], pixels: Pixels, num_frames: int, batch_size: int
) -> dict[str, dict[str, Embeddings]]:
    """What is evaluated on, through several sets of weights in one job: name of the weights -> stream -> features."""
    names = [held_out.stream, *([held_out.twins] if held_out.twins else [])]
    choice = FrameChoice(num_frames, seed=0, training=False)
    streams = {
        name: stored_clips(held_out.store, name, choice=choice, frames=held_out.frames) for name in names
    }
    texts, classes = held_out.captions, held_out.classes
    return embed(streams, models, texts, pixels, num_frames, batch_size, classes)


def search_metrics(
    held_out: HeldOut, start: Load, trained: Load, pixels: Pixels, num_frames: int, batch_size: int
) -> tuple[dict[str, float], dict[str, float]]:
    """What a search compares trials by: all metrics of `evaluate`, classification, and the drift of the text space.

    Of the trained weights, and of those they started from.
    """
    found = embed_each(held_out, {"start": start, "trained": trained}, pixels, num_frames, batch_size)
    before = found["start"][held_out.stream]

    def metrics(name: str) -> dict[str, float]:
        gallery, twins = found[name][held_out.stream], found[name].get(held_out.twins or "")
        scores = dict(score(gallery, held_out.captions, twins).metrics)
        return scores | classification(gallery, held_out) | drift(before, gallery)

    return metrics("trained"), metrics("start")


def classification(gallery: Embeddings, held_out: HeldOut) -> dict[str, float]:
    """Share of a clip's classes among its best prompts, and of clips whose best prompt is right: "classes/D/found"."""
    metrics: dict[str, float] = {}
    for register, cosines in gallery.classes.items():
        texts = [" ".join(held_out.captions[uid][register]) for uid in gallery.media_uids]
        own = torch.tensor([[prompt in text for prompt in held_out.classes[register]] for text in texts])
        if not own.any(dim=1).all():
            raise UserError(f"search.classes: a held-out text of register {register} names no class")
        found = classification_metrics(torch.from_numpy(cosines), own)
        metrics |= {f"classes/{register}/{name}": value for name, value in found.items()}
    return metrics


def drift(before: Embeddings, after: Embeddings) -> dict[str, float]:
    """Mean cosine between the features of the held-out texts before and after, by register: 1 where nothing moved.

    Of a register of several sentences a clip the features are their means.
    """
    return {
        f"drift/{register}": float(
            (unit(torch.from_numpy(texts)) * unit(torch.from_numpy(after.texts[register]))).sum(dim=1).mean()
        )
        for register, texts in before.texts.items()
    }


def read_captions(uri: str, layout: str) -> Captions:
    """The texts of a JSON file {key of the medium: {register: text or list of texts}}, by media uid.

    `layout`: of the archive the keys belong to. UserError for a file of another form.
    """
    try:
        found = json.loads(read_bytes(uri))
        return {stable_uid(layout, key): _texts(registers) for key, registers in found.items()}
    except (ValueError, AttributeError, TypeError) as error:
        form = "{key of the medium: {register: text or list of texts}}"
        raise UserError(f"{uri}: not a caption file, {form} ({error})") from error


def _texts(registers: Mapping[str, Any]) -> dict[str, list[str]]:
    listed = {name: [texts] if isinstance(texts, str) else list(texts) for name, texts in registers.items()}
    for name, texts in listed.items():
        if not texts or not all(isinstance(text, str) for text in texts):
            raise ValueError(f"register {name} holds {texts!r}")
    return listed


def score(gallery: Embeddings, captions: Captions, twins: Embeddings | None = None) -> Scores:
    """All metrics of a gallery (and its twins) in percent, and its first queries as examples."""
    metrics = retrieval(gallery) | sorting(gallery)
    pairs = pair_twins(gallery, twins, captions) if twins else []
    if twins and pairs:
        metrics |= twin_metrics(gallery, twins, captions, pairs)
    return Scores(
        metrics,
        num_clips=len(gallery.uids),
        num_transcripts=gallery.sorting.shape[-1],
        num_twins=2 * len(pairs),
        examples=tuple(example for name in gallery.texts for example in examples(gallery, captions, name)),
    )


def similarity(texts: Floats, video: Floats) -> Tensor:
    """Cosines, rows texts, columns videos."""
    return unit(torch.from_numpy(texts)) @ unit(torch.from_numpy(video)).T


def retrieval(gallery: Embeddings) -> dict[str, float]:
    """R@k and median rank in both directions for every register, named "B/t2v_R1"."""
    return {
        f"{register}/{direction}_{name}": found[name]
        for register, texts in gallery.texts.items()
        for direction, found in retrieval_metrics(similarity(texts, gallery.video)).items()
        for name in REPORTED
    }


def sorting(gallery: Embeddings) -> dict[str, float]:
    """Transcripts placed right, clips with all right, and the control; nothing where there are no transcripts."""
    if not len(gallery.sorting):
        return {}
    found = sorting_accuracy(torch.from_numpy(gallery.sorting))
    metrics = {f"sorting/{name}": value for name, value in found.items()}
    if len(gallery.control):
        metrics["sorting/control"] = sorting_accuracy(torch.from_numpy(gallery.control))["position"]
    return metrics


def examples(gallery: Embeddings, captions: Captions, register: str) -> list[Example]:
    """The first queries of the gallery, whatever they find: none is chosen."""
    cosines = similarity(gallery.texts[register], gallery.video)
    ranks = t2v_ranks(cosines)
    best = cosines.topk(min(NUM_HITS, len(gallery.uids)), dim=1)
    shown = range(min(EXAMPLES_PER_REGISTER, len(gallery.uids)))
    return [
        Example(
            register,
            text=" ".join(captions[gallery.media_uids[query]][register]),
            own=gallery.uids[query],
            rank=int(ranks[query]) + 1,
            hits=tuple(
                Hit(gallery.uids[clip], round(cosine, 4))
                for clip, cosine in zip(
                    best.indices[query].tolist(), best.values[query].tolist(), strict=True
                )
            ),
        )
        for query in shown
    ]


def pair_twins(gallery: Embeddings, twins: Embeddings, captions: Captions) -> list[tuple[int, int]]:
    """(clip of the gallery, its twin): their sentences are the same in another order."""

    def events(media_uid: str) -> tuple[str, ...]:
        return tuple(
            sorted(text for texts in captions[media_uid].values() if len(texts) > 1 for text in texts)
        )

    owners: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for index, uid in enumerate(gallery.media_uids):
        owners[events(uid)].append(index)
    found = [(owners.get(events(uid), []), index) for index, uid in enumerate(twins.media_uids)]
    return [(own[0], index) for own, index in found if len(own) == 1]


def twin_metrics(
    gallery: Embeddings, twins: Embeddings, captions: Captions, pairs: Sequence[tuple[int, int]]
) -> dict[str, float]:
    """Twins in every register of single texts: texts that prefer their own video, videos their own text.

    A mean over sentences does not depend on their order, so registers of sentences are left out.
    """
    mine, other = (list(side) for side in zip(*pairs, strict=True))
    videos = torch.stack([_rows(gallery.video, mine), _rows(twins.video, other)], dim=1)
    metrics: dict[str, float] = {}
    for register, features in gallery.texts.items():
        if any(len(captions[uid][register]) > 1 for uid in gallery.media_uids):
            continue
        texts = torch.stack([_rows(features, mine), _rows(twins.texts[register], other)], dim=1)
        metrics[f"twins/{register}/t2v"] = twin_accuracy(videos, texts)
        metrics[f"twins/{register}/v2t"] = twin_accuracy(
            texts, videos
        )  # the same question, asked by the video
    return metrics


def _rows(features: Floats, rows: Sequence[int]) -> Tensor:
    return torch.from_numpy(features[list(rows)])
