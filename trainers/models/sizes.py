"""Sizes of the parts that models are built of; no torch, so that recipes can name them."""

from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

Flavour = Literal["b", "h"]
Activation = Literal["quick_gelu", "gelu"]
TemporalStart = Literal["as_published", "from_spatial"]


@dataclass(frozen=True)
class VideoTower:
    """ViT with a temporal attention module per block and one class token per clip (TVTSv2, section 3)."""

    image_size: int = 224
    """Side of the input frames in pixels."""
    patch_size: int = 32
    """Side of a patch in pixels."""
    width: int = 768
    """Channels of a token."""
    layers: int = 12
    """Number of blocks."""
    heads: int = 12
    """Attention heads of a block; their number divides the width."""
    mlp_ratio: float = 4.0
    """Hidden channels of a block's MLP, as a multiple of the width."""
    max_frames: int = 12
    """Rows of the temporal table."""
    temporal_start_std: float | None = None
    """Standard deviation of the fresh temporal table; None: the published width**-0.5. A model that starts from scratch
    needs rows as long as its fresh patch embedding's. (Why: `trainers/models/README.md`.)"""
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
    """Number of token ids."""
    context: int = 77
    """Token ids per text, start and end token included."""
    width: int = 512
    """Channels of a token."""
    layers: int = 12
    """Number of blocks."""
    heads: int = 8
    """Attention heads of a block; their number divides the width."""
    mlp_ratio: float = 4.0
    """Hidden channels of a block's MLP, as a multiple of the width."""


@dataclass(frozen=True)
class SortingHead:
    """Joint transformer that orders a clip's transcripts (TVTSv2, 6); its width is the embedding's."""

    transcripts: int = 4
    """K, the positions a transcript can have."""
    depth: int = 2
    """Number of blocks."""
    heads: int = 8
    """Attention heads of a block; their number divides the width."""
    mlp_ratio: float = 4.0
    """Hidden channels of a block's MLP, as a multiple of the width."""
    activation: Activation = "gelu"
    """Activation of the MLPs: exact GELU, or CLIP's x * sigmoid(1.702 x)."""
    layer_norm_eps: float = 1e-6
    """Epsilon of the head's LayerNorms."""


@runtime_checkable
class DualEncoder(Protocol):
    """A video and a text tower with one embedding, and what is built on them."""

    @property
    def flavour(self) -> Flavour:
        """ "b": OpenAI CLIP's blocks; "h": OpenCLIP ViT-H's."""
        ...

    @property
    def embedding(self) -> int:
        """D, the width of the shared embedding."""
        ...

    @property
    def activation(self) -> Activation | None:
        """Of both towers; None: the flavour's."""
        ...

    @property
    def layer_norm_eps(self) -> float:
        """Of both towers."""
        ...

    @property
    def video(self) -> VideoTower: ...

    @property
    def text(self) -> TextTower: ...

    @property
    def sorting(self) -> SortingHead | None: ...
