"""Arithmetic of a training step, counted from the recipe: what model FLOP utilisation (MFU) is measured against."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch

from trainers.freezing import freeze
from trainers.masks import num_kept
from trainers.models.video_text import VideoTextModel
from trainers.recipe import Model, SortingHead, Stage, Stream, TextTower, Training

_PEAKS = (  # dense, without sparsity, from NVIDIA's data sheets; the first name that a device's name contains
    ("B200", {"bf16": 2250e12, "fp32": 75e12}),
    ("H200", {"bf16": 989e12, "fp32": 67e12}),
    ("H100 PCIe", {"bf16": 756e12, "fp32": 51e12}),
    ("H100", {"bf16": 989e12, "fp32": 67e12}),
    ("A100", {"bf16": 312e12, "fp32": 19.5e12}),
    ("L40S", {"bf16": 362e12, "fp32": 91.6e12}),
    ("L4", {"bf16": 121e12, "fp32": 30.3e12}),
    ("A10G", {"bf16": 70e12, "fp32": 31.2e12}),
    ("RTX 4090", {"bf16": 165e12, "fp32": 82.6e12}),
)


def peak_flops(device: torch.device, precision: str) -> float | None:
    """FLOP/s that the device can do at most in "bf16" (tensor cores) or "fp32" (without TF32); None: not known."""
    if device.type != "cuda":
        return None
    name = torch.cuda.get_device_name(device)
    return next((peaks.get(precision) for known, peaks in _PEAKS if known in name), None)


def step_flops(training: Training, stage: Stage, stream: Stream, context: int | None = None) -> float:
    """FLOPs per clip of one training step, forward and backward, of the matrix products of model and head.

    What is computed again to save memory is not counted, nor is the optimiser, nor the contrastive loss (12 N d for N
    clips: under 0.1 % of the model's). `context`: token ids per text, where batches are cut shorter than the recipe's.
    """
    return sum(_forward_and_backward(training.model, stage, stream, context))


def forward_flops(training: Training, stage: Stage, stream: Stream, context: int | None = None) -> float:
    """The forward part of `step_flops`."""
    return sum(
        product.flops
        for chain in _chains(training.model, stage, stream, context)
        for product in chain.products
    )


@dataclass(frozen=True)
class Product:
    """One matrix product: rows by a weight, or (no name) an attention's two between activations."""

    flops: float
    weight: str | None = None


@dataclass(frozen=True)
class Chain:
    """Products in the order in which they are computed; the gradient comes back to the first that is trained."""

    products: tuple[Product, ...]
    has_gradient: bool
    """False: no objective of the stream sends a gradient into it."""
    gradient_leaves: bool = False
    """True: what it reads needs a gradient."""


def _forward_and_backward(model: Model, stage: Stage, stream: Stream, context: int | None) -> Iterator[float]:
    trained = _trained(model, stage)
    for chain in _chains(model, stage, stream, context):
        crosses = chain.gradient_leaves
        for product in chain.products:
            is_trained = product.weight in trained
            operands = 2 if product.weight is None else 1
            yield product.flops * (1 + chain.has_gradient * (operands * crosses + is_trained))
            crosses |= is_trained


def _trained(model: Model, stage: Stage) -> set[str]:
    with torch.device("meta"):
        shapes = VideoTextModel(model)
    freeze(shapes, stage.freeze, stage.frozen_text_blocks, stage.frozen_text_embeddings)
    return {name for name, parameter in shapes.named_parameters() if parameter.requires_grad}


def _chains(model: Model, stage: Stage, stream: Stream, context: int | None) -> Iterator[Chain]:
    sorts, contrasts = "sorting" in stream.objectives, "contrastive" in stream.objectives
    patches = num_kept((model.video.image_size // model.video.patch_size) ** 2, stream.mask_ratio)
    texts = model.sorting.transcripts if stream.text == "transcripts" else 1
    yield Chain(tuple(_video(model, stream.frames, patches)), True)
    text = _text(model.text, model.embedding, context or model.text.context)
    yield Chain(tuple(Product(texts * product.flops, product.weight) for product in text), contrasts)
    if sorts:
        tokens = stream.frames * patches + (model.flavour == "b")
        trains_video = any(name.startswith("video.") for name in _trained(model, stage))
        yield Chain(tuple(_sorting(model.sorting, model.embedding, tokens)), True, trains_video)


def _passed(prefix: str, names: Iterable[str]) -> Iterator[Product]:
    """Parameters on the way that no matrix product reads."""
    return (Product(0.0, f"{prefix}.{name}") for name in names)


def _linear(name: str, rows: int | float, inner: int, outer: int) -> Product:
    return Product(2.0 * rows * inner * outer, name)


def _attention(name: str, width: int, rows: int, queries: int, pairs: int) -> Iterator[Product]:
    """Queries of `queries` of the rows, keys and values of all; `pairs` of a query and a key."""
    yield _linear(f"{name}.qkv.weight", (queries + 2 * rows) / 3, width, 3 * width)
    yield Product(4.0 * pairs * width)
    yield _linear(f"{name}.proj.weight", queries, width, width)


def _mlp(name: str, width: int, hidden: int, rows: int) -> Iterator[Product]:
    yield _linear(f"{name}.mlp.c_fc.weight", rows, width, hidden)
    yield _linear(f"{name}.mlp.c_proj.weight", rows, hidden, width)


def _video(model: Model, frames: int, patches: int) -> Iterator[Product]:
    width, side, tokens = model.video.width, model.video.patch_size, 1 + frames * patches
    hidden = int(width * model.video.mlp_ratio)
    yield _linear("video.patch_embedding.weight", frames * patches, 3 * side**2, width)
    yield from _passed(
        "video", ("class_embedding", "positional_embedding", "temporal_embedding", "ln_pre.weight")
    )
    for index in range(model.video.layers):
        block = f"video.blocks.{index}"
        for name, norm, group in (("timeattn", "ln_3", frames), ("attn", "ln_1", patches)):
            yield from _passed(block, (f"{norm}.weight",))
            yield from _attention(
                f"{block}.{name}", width, tokens, tokens, tokens + (tokens - 1) * (1 + group)
            )
        yield from _passed(block, ("ln_2.weight",))
        yield from _mlp(block, width, hidden, tokens)
    yield from _passed("video", ("ln_post.weight",))
    yield _linear("video.projection", tokens, width, model.embedding)


def _text(config: TextTower, embedding: int, context: int) -> Iterator[Product]:
    yield from _passed("text", ("token_embedding.weight", "positional_embedding"))
    hidden = int(config.width * config.mlp_ratio)
    for index in range(config.layers):
        read = context if index + 1 < config.layers else 1  # the end token alone
        yield from _block(f"text.blocks.{index}", config.width, hidden, context, read)
    yield from _passed("text", ("ln_final.weight",))
    yield _linear("text.projection", 1, config.width, embedding)


def _sorting(config: SortingHead, width: int, tokens: int) -> Iterator[Product]:
    yield from _passed("sorting", ("type_embedding",))
    rows, hidden = tokens + config.transcripts, int(width * config.mlp_ratio)
    for index in range(config.depth):
        read = rows if index + 1 < config.depth else config.transcripts
        yield from _block(f"sorting.blocks.{index}", width, hidden, rows, read)
    yield from _passed("sorting", ("norm.weight",))
    yield _linear("sorting.head.weight", config.transcripts, width, config.transcripts)


def _block(name: str, width: int, hidden: int, rows: int, read: int) -> Iterator[Product]:
    """A plain transformer block of which `read` rows are read."""
    yield from _passed(name, ("ln_1.weight",))
    yield from _attention(f"{name}.attn", width, rows, read, read * rows)
    yield from _passed(name, ("ln_2.weight",))
    yield from _mlp(name, width, hidden, read)
