"""TVTSv2: a video tower, a text tower and a sorting head over both (arXiv:2305.14173)."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, Int64, UInt8
from torch import Tensor, nn

from infra.errors import UserError
from trainers.data.tokenizers import ClipTokenizer
from trainers.models.heads import SortingTransformer
from trainers.models.layers import Fp32LayerNorm
from trainers.models.pretrained import Usage, load_pretrained
from trainers.models.sizes import DualEncoder
from trainers.models.starts import start_fresh
from trainers.models.towers.text import TextTransformer
from trainers.models.towers.video import VideoTransformer, VisualTokens


@dataclass(frozen=True)
class Encoded:
    """One encoding of a batch, shared by all objectives."""

    video: VisualTokens
    texts: Float[Tensor, "b k d"]
    """One feature per text of a clip, not normalised."""


class VideoTextModel(nn.Module):
    """The two towers and the sorting head; parameters are named video.*, text.* and sorting.*."""

    def __init__(self, config: DualEncoder) -> None:
        super().__init__()
        kind = Fp32LayerNorm if config.flavour == "b" else nn.LayerNorm
        norm = partial(kind, eps=config.layer_norm_eps)
        activation = config.activation or ("quick_gelu" if config.flavour == "b" else "gelu")
        width = config.embedding
        self.config = config
        self.video = VideoTransformer(config.video, width, config.flavour, norm, activation)
        self.text = TextTransformer(config.text, width, norm, activation)
        self.sorting = SortingTransformer(width, config.sorting) if config.sorting else None
        self.usage: Usage | None = None
        """How films are embedded; known of a model that came `from_pretrained`."""

    @classmethod
    def fresh(cls, config: DualEncoder, seed: int) -> "VideoTextModel":
        """Fresh weights, decided by the seed: CLIP's own start for the towers, else as published (3.4)."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = cls(config)
            start_fresh(model.video, model.text, config)
        return model

    @classmethod
    def from_pretrained(cls, place: str) -> "VideoTextModel":
        """An exported model with its weights, ready to embed; `place`: a folder, a URI of one, or a hub id.

        UserError for a place without an export, another format version, or weights that do not fit its config.
        """
        model, usage = load_pretrained(place)
        if not isinstance(model, cls):
            raise UserError(f"{place} is a model of another system, {usage.system.kind!r}")
        model.usage = usage
        return model

    @property
    def num_frames(self) -> int:
        """Frames of a film that `embed_frames` takes."""
        return self._usage().num_frames

    @torch.no_grad()
    def embed_frames(self, frames: UInt8[np.ndarray, "t h w 3"]) -> Float[Tensor, "1 d"]:
        """The embedding of a film, of length one, from its RGB frames in order (TVTSv2, section 13).

        As in the evaluation: resized, the central crop, every patch, no mask. UserError for a model that is not
        `from_pretrained`; ValueError for more frames than the model has places in time.
        """
        most = self.config.video.max_frames
        if not 0 < len(frames) <= most:
            raise ValueError(f"{len(frames)} frames were given; this model takes 1 to {most}")
        pixels = self._usage().to_input(frames).to(self.video.projection.device)
        return F.normalize(self.encode_video(pixels).pooled, dim=-1, eps=1e-8)

    @torch.no_grad()
    def embed_texts(self, texts: Sequence[str]) -> Float[Tensor, "n d"]:
        """The embeddings of texts, of length one (TVTSv2, sections 5 and 13)."""
        tokens = torch.from_numpy(ClipTokenizer(self.config.text.context)(texts))
        return F.normalize(self.encode_text(tokens.to(self.text.projection.device)), dim=-1, eps=1e-8)

    def _usage(self) -> Usage:
        if self.usage is None:
            raise UserError(
                "this model does not know its pixels; load an export with VideoTextModel.from_pretrained"
            )
        return self.usage

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
        if self.sorting is None:
            raise ValueError("system.sorting is none: this model has no head that sorts transcripts")
        logits: Tensor = self.sorting(video.sequence, texts)
        return logits
