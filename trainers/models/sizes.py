"""TVTSv2's sizes, and what it reads of a row."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from trainers.system_settings import Reads, RowReader, SystemSettings, Watched

Flavour = Literal["b", "h"]
Activation = Literal["quick_gelu", "gelu"]
TemporalStart = Literal["as_published", "from_spatial"]

NEW = ("video.blocks.*.timeattn.*", "video.blocks.*.ln_3.*", "sorting.*")
"""Names of what CLIP's weights do not cover. The temporal table is in the slow group, as published (section 8)."""
UNDECAYED = ("*bias*", "*ln_*", "*norm*")
"""Names that are not decayed (section 8): tables and projections are."""
TEXT_EMBEDDINGS = ("text.token_embedding.weight", "text.positional_embedding")
"""As published these are trained below the frozen blocks, so the gradient still passes through those; frozen too, none
does, and the blocks keep nothing for the backward pass."""


@dataclass(frozen=True)
class VideoTower:
    """ViT with a temporal attention module per block and one class token per clip (TVTSv2, section 3)."""

    image_size: int = 224
    """Side of the input frames in pixels."""
    patch_size: int = 32
    """Side of a patch in pixels."""
    width: int = 768
    layers: int = 12
    heads: int = 12
    mlp_ratio: float = 4.0
    max_frames: int = 12
    """Rows of the temporal table."""
    temporal_start_std: float | None = None
    """Standard deviation of the fresh temporal table; None: the published width**-0.5. A model that starts
    from scratch needs rows as long as its fresh patch embedding's, or sorting stays at chance."""
    temporal_start: TemporalStart = "as_published"
    """Start of the temporal attention, which says nothing at step 0 whatever the start.

    "as_published": q, k, v zero and an output projection of ones. q and k then never train (section 3.4), and v begins
    from rounding errors, as the LayerNorm behind removes the direction of ones: a mean over time, the same for every
    frame. "from_spatial": the spatial q, k, v and an output projection of zeros; all of it trains.

    Both measured: `trainers/models/README.md`.
    """

    @property
    def num_patches(self) -> int:
        """Patches of a frame."""
        return (self.image_size // self.patch_size) ** 2


@dataclass(frozen=True)
class TextTower:
    """CLIP's text tower (TVTSv2, section 5)."""

    vocabulary: int = 49408
    context: int = 77
    """Token ids per text, start and end token included."""
    width: int = 512
    layers: int = 12
    heads: int = 8
    mlp_ratio: float = 4.0


@dataclass(frozen=True)
class SortingHead:
    """Joint transformer that orders a clip's transcripts (TVTSv2, 6); its width is the embedding's."""

    transcripts: int = 4
    """K, the positions a transcript can have."""
    depth: int = 2
    heads: int = 8
    mlp_ratio: float = 4.0
    activation: Activation = "gelu"
    layer_norm_eps: float = 1e-6


@dataclass(frozen=True)
class TVTSv2(SystemSettings):
    """The two towers and the sorting head. `flavour` "b": OpenAI CLIP's blocks; "h": OpenCLIP ViT-H's."""

    watched: ClassVar[tuple[Watched, ...]] = (
        Watched(
            "temporal_share",
            "attention over time",
            100.0,
            "how much of what attention adds to the patches would be missing without it",
        ),
    )
    parts: ClassVar[Mapping[str, str]] = {
        "video": "video tower",
        "text": "text tower",
        "sorting": "sorting head (training only)",
    }

    kind: Literal["tvtsv2"] = "tvtsv2"
    flavour: Flavour = "b"
    embedding: int = 512
    """D, the width of the shared embedding."""
    activation: Activation | None = None
    """Of both towers; None: the flavour's, x * sigmoid(1.702 x) for "b" and exact GELU for "h"."""
    layer_norm_eps: float = 1e-5
    """Of both towers."""
    video: VideoTower = field(default_factory=VideoTower)
    text: TextTower = field(default_factory=TextTower)
    sorting: SortingHead | None = field(default_factory=SortingHead)
    """None: the model has no such head, and its parameters are those of the two towers."""

    @property
    def image_size(self) -> int:
        """The video tower's."""
        return self.video.image_size

    @property
    def towers(self) -> Mapping[str, int]:
        """Both."""
        return {"video": self.video.layers, "text": self.text.layers}

    def check(self, num_frames: int) -> None:
        """ValueError for heads that do not divide a width, and more frames than the temporal table has rows."""
        if not 0 < num_frames <= self.video.max_frames:
            raise ValueError(f"num_frames is {num_frames}, not between 1 and {self.video.max_frames}")
        widths = {"video": self.video.width, "text": self.text.width, "sorting": self.embedding}
        for name, width in widths.items():
            part = getattr(self, name)
            if part and (part.heads < 1 or width % part.heads):
                raise ValueError(
                    f"system.{name}.heads is {part.heads}, which does not divide the width {width}"
                )


@dataclass(frozen=True)
class TVTSv2Reads(Reads):
    """Texts of a clip, and the patches of its frames that are kept."""

    kind: Literal["tvtsv2"] = "tvtsv2"
    text: Literal["transcripts", "captions"] = "captions"
    """The texts that the objectives use: all K transcripts, or one of the captions."""
    mask_ratio: float = 0.0
    """Share of the patch positions dropped, the same in all frames of a clip (TVTSv2, section 4)."""

    def reader(self, system: Any) -> RowReader:
        """For the context and the patches of this system."""
        from trainers.systems.tvtsv2.rows import TextsAndPatches

        return TextsAndPatches(self, system)
