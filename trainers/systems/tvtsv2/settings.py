"""TVTSv2's sizes, and what it reads of a row."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from trainers.models.sizes import Activation, Flavour, SortingHead, TextTower, VideoTower
from trainers.system_settings import SystemSettings, Watched

NEW = ("video.blocks.*.timeattn.*", "video.blocks.*.ln_3.*", "sorting.*")
"""Names of what CLIP's weights do not cover. The temporal table is in the slow group, as published (section 8)."""
UNDECAYED = ("*bias*", "*ln_*", "*norm*")
"""Names that are not decayed (section 8): tables and projections are."""
TEXT_EMBEDDINGS = ("text.token_embedding.weight", "text.positional_embedding")
"""As published these are trained below the frozen blocks, so the gradient still passes through those; frozen too, none
does, and the blocks keep nothing for the backward pass."""


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
    """Which system this is."""
    flavour: Flavour = "b"
    """How the towers are built: "b", of OpenAI CLIP's blocks; "h", of OpenCLIP ViT-H's."""
    embedding: int = 512
    """D, the width of the shared embedding."""
    activation: Activation | None = None
    """Activation of both towers; None: the flavour's, x * sigmoid(1.702 x) for "b" and exact GELU for "h"."""
    layer_norm_eps: float = 1e-5
    """Epsilon of both towers' LayerNorms."""
    video: VideoTower = field(default_factory=VideoTower)
    """ViT with a temporal attention module per block and one class token per clip (TVTSv2, section 3)."""
    text: TextTower = field(default_factory=TextTower)
    """CLIP's text tower (TVTSv2, section 5)."""
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
