"""A row of clips -> token ids and kept patches, in the data workers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Int64
from numpy.typing import NDArray

from trainers.data.tokenizers import ClipTokenizer
from trainers.draws import Draws
from trainers.system_settings import Reads, RowReader
from trainers.systems.tvtsv2.settings import TVTSv2

CAPTION, KEEP = 2, 3
"""Kinds of draw."""

TextsAndKept = tuple[list[str], NDArray[np.int64]]


@dataclass(frozen=True)
class TextsAndPatches:
    """K texts and the kept patch positions of a clip; of an unreadable one, empty texts."""

    reads: "TVTSv2Reads"
    system: TVTSv2

    @property
    def columns(self) -> tuple[str, ...]:
        """The texts that are used."""
        return (self.reads.text,)

    def read(self, row: Mapping[str, Any], draws: Draws | None) -> TextsAndKept | None:
        """None for a clip without a caption; ValueError for another number of transcripts than K."""
        texts = self._texts(row, draws)
        return None if texts is None else (texts, self._keep(draws))

    def unreadable(self, draws: Draws | None) -> TextsAndKept:
        """As many texts as the others have."""
        return [""] * self._num_texts, self._keep(draws)

    def stack(self, rows: Sequence[TextsAndKept]) -> dict[str, NDArray[np.generic]]:
        """`tokens` [rows, K, context] and `keep` [rows, n]."""
        tokens = ClipTokenizer(self.system.text.context)([text for texts, _ in rows for text in texts])
        return {
            "tokens": tokens.reshape(len(rows), -1, tokens.shape[-1]),
            "keep": np.stack([keep for _, keep in rows]),
        }

    @property
    def _num_texts(self) -> int:
        if self.reads.text == "captions":
            return 1
        if self.system.sorting is None:
            raise ValueError("system.sorting is none, and with it the number of transcripts that a clip has")
        return self.system.sorting.transcripts

    def _texts(self, row: Mapping[str, Any], draws: Draws | None) -> list[str] | None:
        if self.reads.text == "captions":
            captions = row["captions"]
            if not captions:
                return None
            return [captions[int(draws.source(CAPTION).integers(len(captions))) if draws else 0]]
        texts = [utterance["text"] for utterance in row["transcripts"] or ()]
        if len(texts) != self._num_texts:
            raise ValueError(
                f"clip {row['uid']} has {len(texts)} transcripts, but the recipe's system.sorting.transcripts is "
                f"{self._num_texts}"
            )
        return texts

    def _keep(self, draws: Draws | None) -> NDArray[np.int64]:
        patches = self.system.video.num_patches
        return draw_keep(patches, self.reads.mask_ratio, draws.source(KEEP)) if draws else np.arange(patches)


@dataclass(frozen=True)
class TVTSv2Reads(Reads):
    """Texts of a clip, and the patches of its frames that are kept."""

    kind: Literal["tvtsv2"] = "tvtsv2"
    """Which system reads the rows."""
    text: Literal["transcripts", "captions"] = "captions"
    """The texts that the objectives use: all K transcripts, or one of the captions."""
    mask_ratio: float = 0.0
    """Share of the patch positions dropped, the same in all frames of a clip (TVTSv2, section 4)."""

    def reader(self, system: Any) -> RowReader:
        """For the context and the patches of this system."""
        return TextsAndPatches(self, system)


def num_kept(num_patches: int, mask_ratio: float) -> int:
    """Patches kept per frame, rounded down in double precision as published: 256 at 0.7 gives 76."""
    return int(num_patches * (1 - mask_ratio))


def draw_keep(num_patches: int, mask_ratio: float, draw: np.random.Generator) -> Int64[np.ndarray, " n"]:
    """Kept patch positions of one clip: the start of a random permutation, not sorted."""
    return draw.permutation(num_patches)[: num_kept(num_patches, mask_ratio)]
