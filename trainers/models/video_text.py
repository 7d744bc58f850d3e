"""TVTSv2: a video tower, a text tower and a sorting head over both (arXiv:2305.14173)."""

from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float, Int, Int64
from torch import Tensor, nn

from trainers.models.heads import SortingTransformer
from trainers.models.layers import Fp32LayerNorm
from trainers.models.starts import start_fresh
from trainers.models.towers.text import TextTransformer
from trainers.models.towers.video import VideoTransformer, VisualTokens
from trainers.recipe import Model


@dataclass(frozen=True)
class Encoded:
    """One encoding of a batch, shared by all objectives."""

    video: VisualTokens
    texts: Float[Tensor, "b k d"]
    """One feature per text of a clip, not normalised."""


class VideoTextModel(nn.Module):
    """The two towers and the sorting head; parameters are named video.*, text.* and sorting.*."""

    def __init__(self, config: Model) -> None:
        super().__init__()
        kind = Fp32LayerNorm if config.flavour == "b" else nn.LayerNorm
        norm = partial(kind, eps=config.layer_norm_eps)
        activation = config.activation or ("quick_gelu" if config.flavour == "b" else "gelu")
        width = config.embedding
        self.config = config
        self.video = VideoTransformer(config.video, width, config.flavour, norm, activation)
        self.text = TextTransformer(config.text, width, norm, activation)
        self.sorting = SortingTransformer(width, config.sorting)

    @classmethod
    def fresh(cls, config: Model, seed: int) -> "VideoTextModel":
        """Fresh weights, decided by the seed: CLIP's own start for the towers, else as published (3.4)."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = cls(config)
            start_fresh(model.video, model.text, config)
        return model

    def encode_video(
        self, pixels: Float[Tensor, "b t 3 h w"], keep: Int64[Tensor, "b n"] | None = None
    ) -> VisualTokens:
        """Normalised frames, 1 to `max_frames` of them; `keep` None: every patch."""
        tokens: VisualTokens = self.video(pixels, keep)
        return tokens

    def encode_text(self, tokens: Int[Tensor, "n c"]) -> Float[Tensor, "n d"]:
        """One feature per text, not normalised."""
        features: Tensor = self.text(tokens)
        return features

    def encode(
        self,
        pixels: Float[Tensor, "b t 3 h w"],
        tokens: Int[Tensor, "b k c"],
        keep: Int64[Tensor, "b n"] | None = None,
    ) -> Encoded:
        """Clips and their K texts each."""
        texts = self.encode_text(tokens.flatten(0, 1)).unflatten(0, tokens.shape[:2])
        return Encoded(self.encode_video(pixels, keep), texts)

    def sort(self, video: VisualTokens, texts: Float[Tensor, "b k d"]) -> Float[Tensor, "b k places"]:
        """Logits of the place in time of each of a clip's transcripts; chance is ln K."""
        logits: Tensor = self.sorting(video.sequence, texts)
        return logits
