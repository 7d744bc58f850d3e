"""The toy's sizes, what it reads of a row, and its objectives.

A system that is no paper's: it has one of each thing that systems can have.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from trainers.draws import Draws, mixed
from trainers.system_settings import ObjectiveSettings, Reads, SystemSettings, Watched

PAD, MASK, FIRST_WORD = 0, 1, 2


@dataclass(frozen=True)
class Toy(SystemSettings):
    """Patches of a film and words of a caption, read together by one fusion tower."""

    watched: ClassVar[tuple[Watched, ...]] = (Watched("video_share", "attention paid to the film", 100.0),)
    parts: ClassVar[Mapping[str, str]] = {"fusion": "fusion tower", "words": "words, read and written"}

    kind: Literal["toy"] = "toy"
    side: int = 16
    patch: int = 8
    width: int = 16
    blocks: int = 2
    vocabulary: int = 40
    length: int = 6
    """Words of a caption."""
    dropout: float = 0.1

    @property
    def image_size(self) -> int:
        """Of the frames."""
        return self.side

    @property
    def towers(self) -> Mapping[str, int]:
        """The fusion tower."""
        return {"fusion": self.blocks}

    def ids(self, caption: str) -> list[int]:
        """Words as numbers: a hash stands for a vocabulary."""
        words = caption.split()[: self.length]
        return [FIRST_WORD + mixed(word) % (self.vocabulary - FIRST_WORD) for word in words]


@dataclass(frozen=True)
class ToyReads(Reads):
    """A caption, of which some words are masked, and the number of the clip's label."""

    kind: Literal["toy"] = "toy"
    labels: tuple[str, ...] = ("even", "odd")
    masked: float = 0.3

    def reader(self, system: Toy) -> "ToyRows":
        """For this vocabulary."""
        return ToyRows(self, system)


@dataclass(frozen=True)
class ToyRows:
    """`ids`, `targets` (-1 where nothing is masked) and `label` (-1 where there is none)."""

    reads: ToyReads
    system: Toy

    @property
    def columns(self) -> tuple[str, ...]:
        return ("captions", "label")

    def read(self, row: Mapping[str, Any], draws: Draws | None) -> dict[str, Any] | None:
        if not row["captions"]:
            return None
        ids = np.zeros(self.system.length, np.int64)
        words = self.system.ids(row["captions"][0])
        ids[: len(words)] = words
        masked = np.zeros(len(ids), bool)
        if draws:
            masked = (draws.source(2).random(len(ids)) < self.reads.masked) & (ids != PAD)
        known = row["label"] in self.reads.labels
        return {
            "ids": np.where(masked, MASK, ids),
            "targets": np.where(masked, ids, -1),
            "label": np.int64(self.reads.labels.index(row["label"]) if known else -1),
        }

    def unreadable(self, draws: Draws | None) -> dict[str, Any]:
        empty = np.zeros(self.system.length, np.int64)
        return {"ids": empty, "targets": empty - 1, "label": np.int64(-1)}

    def stack(self, rows: Sequence[dict[str, Any]]) -> dict[str, NDArray[Any]]:
        return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


@dataclass(frozen=True)
class Words(ObjectiveSettings):
    """Which word was masked; counts words, not clips."""

    kind: Literal["toy_words"] = "toy_words"

    def chance(self, system: Toy, stream: Any) -> float:
        return float(np.log(system.vocabulary))


@dataclass(frozen=True)
class Memory(ObjectiveSettings):
    """A clip among the clips of all ranks and those of a queue, as a momentum copy of the model sees them."""

    kind: Literal["toy_memory"] = "toy_memory"
    queue: int = 8
    momentum: float = 0.9
    temperature: float = 0.2


@dataclass(frozen=True)
class Labels(ObjectiveSettings):
    """The clip's label, by a head that is the objective's own."""

    kind: Literal["toy_labels"] = "toy_labels"
    labels: int = 2


@dataclass(frozen=True)
class Colour(ObjectiveSettings):
    """What a teacher says of the frames."""

    kind: Literal["toy_colour"] = "toy_colour"
