"""Three ways in which others bring clips to a training step: torch's DataLoader over our Parquet, WebDataset over our
tars, and a DataLoader over mp4 files with decord."""

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import decord
import numpy as np
import pyarrow.parquet as pq
import simplejpeg
import torch
import webdataset
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, get_worker_info

from trainers.data.pixels import Offsets, cut, room
from trainers.data.tokenizers import ClipTokenizer
from trainers.recipe import Pixels

Sample = tuple[NDArray[np.uint8], NDArray[np.int64]]
"""Frames [t, crop, crop, 3] and token ids [1, context]."""


@dataclass(frozen=True)
class Wanted:
    """What a batch holds."""

    batch_size: int
    frames: int
    pixels: Pixels


def drawn(candidates: int, frames: int, generator: np.random.Generator) -> list[int]:
    """One of each slice."""
    borders = np.linspace(0, candidates, frames + 1).astype(int)
    return [int(generator.integers(low, high)) for low, high in pairwise(borders)]


def cropped(
    frames: list[NDArray[np.uint8]], pixels: Pixels, generator: np.random.Generator
) -> NDArray[np.uint8]:
    """One place for all frames of the clip."""
    space = room(*frames[0].shape[:2], pixels)
    corner: Offsets = (int(generator.integers(space[0] + 1)), int(generator.integers(space[1] + 1)))
    return np.stack([cut(frame, corner, pixels) for frame in frames])


def sample(jpegs: list[bytes], caption: str, wanted: Wanted, generator: np.random.Generator) -> Sample:
    """One clip, with the decoder that we use."""
    chosen = [jpegs[number] for number in drawn(len(jpegs), wanted.frames, generator)]
    frames = [simplejpeg.decode_jpeg(jpeg, colorspace="RGB") for jpeg in chosen]
    return cropped(frames, wanted.pixels, generator), ClipTokenizer()([caption])


class ParquetClips(IterableDataset[Sample]):
    """The row groups of our shards in a drawn order, without end; each worker reads its own."""

    def __init__(self, parts: list[Path], wanted: Wanted) -> None:
        self.groups = [(part, n) for part in parts for n in range(pq.ParquetFile(part).num_row_groups)]
        self.wanted = wanted

    def __iter__(self) -> Iterator[Sample]:
        torch.set_num_threads(1)
        info = get_worker_info()
        mine = self.groups[info.id :: info.num_workers] if info else self.groups
        generator = np.random.default_rng(info.id if info else 0)
        while True:
            for number in generator.permutation(len(mine)):
                part, group = mine[number]
                rows = pq.ParquetFile(part).read_row_group(group, columns=["captions", "frames"])
                for index in generator.permutation(rows.num_rows):
                    row = rows.slice(index, 1).to_pylist()[0]
                    yield sample(row["frames"], row["captions"][0], self.wanted, generator)


@dataclass(frozen=True)
class OfTar:
    """A sample of our tars."""

    wanted: Wanted

    def __call__(self, members: Mapping[str, Any]) -> Sample:
        """Its frames and tokens."""
        generator = np.random.default_rng()
        jpegs = [members[name] for name in sorted(members) if name.endswith(".jpg")]
        return sample(jpegs, members["txt"].decode(), self.wanted, generator)


def web_loader(tars: list[Path], wanted: Wanted, workers: int) -> DataLoader[Any]:
    """As WebDataset's own examples put it together."""
    clips = webdataset.WebDataset([str(tar) for tar in tars], resampled=True, shardshuffle=False)
    samples = clips.shuffle(16).map(OfTar(wanted)).batched(wanted.batch_size)
    return webdataset.WebLoader(
        samples, batch_size=None, num_workers=workers, multiprocessing_context="spawn"
    )


class Films(Dataset[Sample]):
    """mp4 files with captions, decoded by decord when asked for."""

    def __init__(self, paths: list[Path], captions: list[str], wanted: Wanted, length: int) -> None:
        self.paths, self.captions, self.wanted, self.length = paths, captions, wanted, length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, number: int) -> Sample:
        generator = np.random.default_rng(number)
        index = number % len(self.paths)
        reader = decord.VideoReader(io.BytesIO(self.paths[index].read_bytes()), num_threads=1)
        frames = reader.get_batch(drawn(len(reader), self.wanted.frames, generator)).asnumpy()
        tokens = ClipTokenizer()([self.captions[index]])
        return cropped(list(frames), self.wanted.pixels, generator), tokens


def torch_loader(clips: Dataset[Sample], wanted: Wanted, workers: int) -> Iterator[list[Tensor]]:
    """Batches of a dataset as torch makes them."""
    loader: DataLoader[Sample] = DataLoader(
        clips, wanted.batch_size, num_workers=workers, multiprocessing_context="spawn"
    )
    return iter(loader)
