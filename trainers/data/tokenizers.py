"""Texts -> token ids: CLIP's byte-pair vocabulary (TVTSv2, section 5)."""

import html
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import ftfy
import instant_clip_tokenizer
import numpy as np
from jaxtyping import Int64
from numpy.typing import NDArray


@cache
def _vocabulary() -> instant_clip_tokenizer.Tokenizer:
    """Loaded once per process; it does not pickle."""
    return instant_clip_tokenizer.Tokenizer()


def clean(text: str) -> str:
    """Mojibake repaired, HTML unescaped twice, white space collapsed."""
    return " ".join(html.unescape(html.unescape(ftfy.fix_text(text))).split())


@dataclass(frozen=True)
class ClipTokenizer:
    """Start 49406, end 49407, zero padding; a text that is too long is cut and ends with the end token."""

    context: int = 77
    """Ids per text, start and end included."""

    def __call__(self, texts: Sequence[str]) -> Int64[np.ndarray, "n context"]:
        """One row of ids per text."""
        cleaned = [clean(text) for text in texts]
        if not cleaned:
            return np.empty((0, self.context), np.int64)
        ids: NDArray[np.uint16] = _vocabulary().tokenize_batch(cleaned, context_length=self.context)
        return ids.astype(np.int64)
