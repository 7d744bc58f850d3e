"""Arithmetic of TVTSv2, counted from its sizes."""

from collections.abc import Collection, Iterable, Iterator

from trainers.models.sizes import SortingHead, TextTower
from trainers.recipe import Stage, Stream
from trainers.system import Chain, Product
from trainers.systems.tvtsv2.rows import TVTSv2Reads, num_kept
from trainers.systems.tvtsv2.settings import TVTSv2


def chains(
    system: TVTSv2, stage: Stage, stream: Stream, trained: Collection[str], context: int | None = None
) -> list[Chain]:
    """The video tower, the text tower and, where the stream sorts, the head. `context`: token ids per text, where
    batches are cut shorter than the recipe's."""
    kinds = {objective.kind for objective in stage.objectives if objective.name in stream.objectives}
    reads = stream.reads
    assert isinstance(reads, TVTSv2Reads)
    patches = num_kept(system.video.num_patches, reads.mask_ratio)
    texts = system.sorting.transcripts if system.sorting and reads.text == "transcripts" else 1
    text = _text(system.text, system.embedding, context or system.text.context)
    found = [
        Chain(tuple(_video(system, stream.frames, patches)), True),
        Chain(
            tuple(Product(texts * product.flops, product.weight) for product in text), "contrastive" in kinds
        ),
    ]
    if system.sorting and "sorting" in kinds:
        tokens = stream.frames * patches + (system.flavour == "b")
        trains_video = any(name.startswith("video.") for name in trained)
        found.append(Chain(tuple(_sorting(system.sorting, system.embedding, tokens)), True, trains_video))
    return found


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


def _video(model: TVTSv2, frames: int, patches: int) -> Iterator[Product]:
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
