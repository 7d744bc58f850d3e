"""The toy's model and its step."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from tests.trainers.systems.toy.settings import Toy
from trainers.data.batch import Batch
from trainers.models.blocks import Blocks
from trainers.system import System


class Block(nn.Module):
    """A little attention and a projection that all blocks share; the root owns it and hands it in."""

    def __init__(self, config: Toy) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(config.width)
        self.query = nn.Linear(config.width, config.width)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, shared: nn.Module) -> Tensor:
        seen = self.norm(x)
        mixed = torch.softmax(self.query(seen) @ seen.transpose(1, 2), dim=-1) @ seen
        return x + self.dropout(shared(mixed))


class ToyModel(nn.Module):
    """`words` reads and writes: its weight stands under two names."""

    def __init__(self, config: Toy) -> None:
        super().__init__()
        self.config = config
        self.patches = nn.Linear(3 * config.patch**2, config.width)
        self.words = nn.Embedding(config.vocabulary, config.width)
        self.written = nn.Linear(config.width, config.vocabulary, bias=False)
        self.written.weight = self.words.weight
        self.shared = nn.Linear(config.width, config.width)
        self.fusion = nn.ModuleDict({"blocks": Blocks(Block(config) for _ in range(config.blocks))})

    def film(self, pixels: Tensor) -> Tensor:
        """A token per patch of the mean frame, [b, p, d]."""
        side = self.config.patch
        cut = pixels.mean(1).unfold(2, side, side).unfold(3, side, side)  # (b, 3, rows, columns, side, side)
        return self.patches(cut.permute(0, 2, 3, 1, 4, 5).flatten(1, 2).flatten(2))

    def fuse(self, film: Tensor, ids: Tensor) -> Tensor:
        """Film and words together, [b, p + l, d]."""
        return self.fusion["blocks"](torch.cat([film, self.words(ids)], dim=1), self.shared)


@dataclass(frozen=True)
class Inputs:
    """A caption and a label."""

    ids: Tensor
    targets: Tensor
    label: Tensor


@dataclass(frozen=True)
class Encoded:
    """One pass over film and words."""

    film: Tensor
    words: Tensor

    @property
    def pooled(self) -> Tensor:
        """One vector a clip."""
        return self.film.mean(1)


def encode(model: ToyModel, stream: Any, batch: Batch, pixels: Tensor) -> Encoded:
    film = model.film(pixels)
    fused = model.fuse(film, batch.inputs.ids)
    return Encoded(fused[:, : film.shape[1]], fused[:, film.shape[1] :])


def inputs(columns: Mapping[str, Tensor]) -> Inputs:
    return Inputs(columns["ids"], columns["targets"], columns["label"])


def fresh(config: Toy, seed: int) -> ToyModel:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return ToyModel(config)


@torch.no_grad()
def probe(model: ToyModel, stream: Any, clip: Batch, pixels: Tensor) -> dict[str, Tensor]:
    film = model.film(pixels)
    return {"video_share": film.norm() / (film.norm() + model.words(clip.inputs.ids).norm())}


SYSTEM = System(build=ToyModel, fresh=fresh, inputs=inputs, encode=encode, probe=probe, exported=("*",))
