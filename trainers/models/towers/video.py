"""The video tower: a ViT with temporal attention in every block and one class token a clip (TVTSv2, 3)."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from trainers.models.blocks import Blocks
from trainers.models.layers import Mlp, Norm, SharedClassAttention
from trainers.models.sizes import Activation, Flavour, VideoTower


@dataclass(frozen=True)
class VisualTokens:
    """What a visual tower says of a batch of clips, in the shared embedding."""

    patches: Float[Tensor, "b t n d"]
    """One token per kept patch, frame-major."""
    cls: Float[Tensor, "b d"]
    """The class token of the clip."""
    pooled: Float[Tensor, "b d"]
    """The clip's embedding."""
    sequence: Float[Tensor, "b m d"]
    """What a joint transformer reads: flavour "b" the class token and all patches, "h" the patches alone."""


class PatchEmbedding(nn.Module):
    """One linear map per patch of a frame; only the kept patches are computed."""

    def __init__(self, patch_size: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width, 3, patch_size, patch_size))

    def forward(
        self, pixels: Float[Tensor, "b t 3 h w"], keep: Int64[Tensor, "b n"]
    ) -> Float[Tensor, "b t n d"]:
        """A convolution with kernel = stride = patch side, read at the (row-major) positions of `keep`."""
        side = self.weight.shape[-1]
        rows, columns = pixels.shape[-2] // side, pixels.shape[-1] // side
        pixels = pixels[..., : rows * side, : columns * side]
        grid = pixels.unflatten(4, (columns, side)).unflatten(3, (rows, side)).permute(0, 3, 5, 1, 2, 4, 6)
        clip = torch.arange(len(keep), device=keep.device)[:, None]
        kept = grid[clip, keep // columns, keep % columns].flatten(3)  # (b, n, t, 3 side side)
        return nn.functional.linear(kept, self.weight.flatten(1)).transpose(1, 2)


class Block(nn.Module):
    """Temporal attention feeds spatial attention; the residual skips both (TVTSv2, 3.4)."""

    def __init__(self, config: VideoTower, norm: Norm, activation: Activation) -> None:
        super().__init__()
        width = config.width
        self.ln_1 = norm(width)
        self.ln_2 = norm(width)
        self.ln_3 = norm(width)
        self.attn = SharedClassAttention(width, config.heads, over="space")
        self.timeattn = SharedClassAttention(width, config.heads, over="time")
        self.mlp = Mlp(width, int(width * config.mlp_ratio), activation)

    def forward(self, x: Float[Tensor, "b m d"], t: int) -> Float[Tensor, "b m d"]:
        """`x`: the class token, then the patches of `t` frames."""
        x = x + self.attn(self.ln_1(x + self.timeattn(self.ln_3(x), t)), t)  # residual from x alone
        out: Tensor = x + self.mlp(self.ln_2(x))
        return out


class VideoTransformer(nn.Module):
    """Normalised frames -> tokens in the shared embedding."""

    def __init__(
        self,
        config: VideoTower,
        embedding: int,
        flavour: Flavour,
        norm: Norm,
        activation: Activation,
    ) -> None:
        super().__init__()
        width = config.width
        self.flavour = flavour
        self.num_patches = (config.image_size // config.patch_size) ** 2
        self.patch_embedding = PatchEmbedding(config.patch_size, width)
        self.class_embedding = nn.Parameter(torch.empty(width))
        self.positional_embedding = nn.Parameter(torch.empty(self.num_patches + 1, width))
        self.temporal_embedding = nn.Parameter(torch.empty(config.max_frames, width))
        self.ln_pre = norm(width)
        self.blocks = Blocks(Block(config, norm, activation) for _ in range(config.layers))
        self.ln_post = norm(width)
        self.projection = nn.Parameter(torch.empty(width, embedding))

    def forward(
        self, pixels: Float[Tensor, "b t 3 h w"], keep: Int64[Tensor, "b n"] | None = None
    ) -> VisualTokens:
        """`keep`: patch positions kept in every frame of a clip; None: all, in natural order."""
        num_frames = pixels.shape[1]
        if keep is None:
            keep = torch.arange(self.num_patches, device=pixels.device).expand(len(pixels), -1)
        x = self.blocks(self.ln_pre(self._embed(pixels, keep)), num_frames)
        return self._read_out(x, num_frames)

    def _embed(
        self, pixels: Float[Tensor, "b t 3 h w"], keep: Int64[Tensor, "b n"]
    ) -> Float[Tensor, "b m d"]:
        place = self.positional_embedding[1 + keep][:, None]  # (b, 1, n, d)
        moment = self.temporal_embedding[: pixels.shape[1], None]  # (t, 1, d)
        patches = self.patch_embedding(pixels, keep) + place + moment
        cls = (self.class_embedding + self.positional_embedding[0]).expand(len(pixels), 1, -1)
        return torch.cat([cls, patches.flatten(1, 2)], dim=1)

    def _read_out(self, x: Float[Tensor, "b m d"], num_frames: int) -> VisualTokens:
        """Flavour "b" norms and projects every token, "h" norms the class token alone (TVTSv2, 3.5)."""
        if self.flavour == "b":
            sequence = self.ln_post(x) @ self.projection
            cls, patches = sequence[:, 0], sequence[:, 1:]
        else:
            cls = self.ln_post(x[:, 0]) @ self.projection
            patches = sequence = x[:, 1:] @ self.projection
        return VisualTokens(patches.unflatten(1, (num_frames, -1)), cls, cls, sequence)
