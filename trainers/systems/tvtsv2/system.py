"""TVTSv2's step: what a batch becomes, and which weights it starts from."""

import io
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from trainers.data.batch import Batch
from trainers.models.starts import start_temporal_attention
from trainers.models.towers.text import trim_padding
from trainers.models.video_text import Encoded, VideoTextModel
from trainers.models.weights import openclip, tvtsv2
from trainers.models.weights.files import load_start
from trainers.recipe import Stream
from trainers.system import Card, Files, System
from trainers.systems.tvtsv2.flops import chains
from trainers.systems.tvtsv2.probes import temporal_share
from trainers.systems.tvtsv2.settings import TVTSv2

RELEASED_FILE = "TVTSv2.pth"


@dataclass(frozen=True)
class Inputs:
    """What the model reads of clips beside their frames."""

    tokens: Int64[Tensor, "b k context"]
    """K texts per clip, start and end token included, zero padded; `trim_padding` may have shortened them."""
    keep: Int64[Tensor, "b n"]
    """Patch positions kept in every frame of a clip, in the order their tokens take (TVTSv2, section 4)."""


def inputs(columns: Mapping[str, Tensor]) -> Inputs:
    """The arrays of `TextsAndPatches`, their padding trimmed."""
    return Inputs(trim_padding(columns["tokens"]), columns["keep"])


def encode(
    model: VideoTextModel, stream: Stream, batch: Batch, pixels: Float[Tensor, "b t 3 h w"]
) -> Encoded:
    """Videos and texts, once for all objectives."""
    return model.encode(pixels, batch.inputs.tokens, batch.inputs.keep)


def probe(
    model: VideoTextModel, stream: Stream, clip: Batch, pixels: Float[Tensor, "b t 3 h w"]
) -> dict[str, Tensor]:
    """How much of what the video tower's attention says is said over time; nothing for stills."""
    if stream.frames == 1:
        return {}
    return {"temporal_share": temporal_share(model.video, pixels, clip.inputs.keep)}


def note(settings: TVTSv2, batch: Batch) -> dict[str, Tensor]:
    """Share of the texts that fill the context: longer ones are cut, as CLIP does."""
    last_id = batch.inputs.tokens[..., settings.text.context - 1 :]  # none where padding was trimmed
    return {"texts_cut_share": (last_id > 0).any(-1).float().mean()}


def start(
    model: VideoTextModel, settings: TVTSv2, weights: Mapping[str, Tensor], what: str
) -> frozenset[str]:
    """From CLIP (transformers' or OpenAI's names), OpenCLIP, or TVTSv2 (released or training checkpoints)."""
    layout = load_start(model, weights, what)
    names = [name for name, _ in model.named_parameters()]
    if layout in ("clip", "openclip"):  # they cover no temporal module, and one may copy what they cover
        start_temporal_attention(model.video, settings.video.temporal_start)
        return frozenset(filter(openclip.covers, names))
    head = any(name.removeprefix("module.").startswith("pred_model.") for name in weights)
    return frozenset(name for name in names if head or not name.startswith("sorting."))


def released(model: VideoTextModel) -> dict[str, bytes]:
    """TVTSv2.pth as the released files are, without the sorting head; `torch.load(weights_only=True)` reads it."""
    entries = tvtsv2.export(model, sorting_head=False)
    file = io.BytesIO()
    torch.save({"state_dict": {name: value.contiguous() for name, value in entries.items()}}, file)
    return {RELEASED_FILE: file.getvalue()}


def card(settings: TVTSv2, num_frames: int) -> Card:
    """For embeddings of films and texts."""
    side, width = settings.image_size, settings.embedding
    return Card(
        about=(
            f"Two towers that embed films and texts in one space of {width} dimensions, after TVTSv2 "
            f"(arXiv:2305.14173),\ntrained with Reelscript. Of a film, {num_frames} frames are read at {side} x {side} "
            f"pixels in patches of {settings.video.patch_size}; a text has at most {settings.text.context} tokens."
        ),
        use=f"""from ingest.decode.films import read_frames
from trainers.models.video_text import VideoTextModel

model = VideoTextModel.from_pretrained("path/to/this/folder").to("cpu")           # or "cuda"
video = model.embed_frames(read_frames("film.mp4", model.num_frames))             # [1, {width}], length one
texts = model.embed_texts(["a red circle floats upward", "a blue square spins"])  # [2, {width}]
print(texts @ video.T)                                                            # cosines""",
        tags=("video-text-retrieval", "tvtsv2"),
        caveat="The numbers in the TVTSv2 paper are those of other weights.",
    )


RELEASED_USE = """`TVTSv2.pth` is in the layout of the released TVTSv2 files: key `state_dict`, the entries `text_*` and
`video_model.*`, no sorting head.

```python
import torch

state_dict = torch.load("TVTSv2.pth", weights_only=True)["state_dict"]
```

`reelscript train RECIPE --init path/to/TVTSv2.pth` starts from it, with a recipe of the same sizes."""


def fresh(settings: TVTSv2, seed: int) -> VideoTextModel:
    """See `VideoTextModel.fresh`."""
    return VideoTextModel.fresh(settings, seed)


SYSTEM: System = System(
    build=VideoTextModel,
    fresh=fresh,
    inputs=inputs,
    encode=encode,
    start=start,
    files={"tvtsv2": Files(released, RELEASED_USE, ("video.*", "text.*"))},
    card=card,
    probe=probe,
    note=note,
    chains=chains,
)
