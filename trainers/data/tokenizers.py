"""Texts -> token ids: CLIP's byte-pair vocabulary (TVTSv2, section 5)."""

import gzip
import html
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files

import ftfy
import numpy as np
import regex
from jaxtyping import Int64
from tokenizers import Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel

START, END = 49406, 49407
_WORD = regex.compile(r"'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+", regex.IGNORECASE)
_KEPT_WORDS = 1 << 16
"""A corpus says the same words again and again; the library is asked once for each."""


@cache
def _vocabulary() -> Tokenizer:
    """The bytes, the bytes that end a word, and what the merges make of them, in this order."""
    packed = files("trainers").joinpath("data", "clip_merges.txt.gz").read_bytes()
    lines = gzip.decompress(packed).decode().splitlines()[1:]
    merges = [(left, right) for left, right in map(str.split, lines)]
    symbols = _byte_symbols()
    pieces = [*symbols, *(f"{symbol}</w>" for symbol in symbols), *map("".join, merges)]
    model = BPE({piece: number for number, piece in enumerate(pieces)}, merges, end_of_word_suffix="</w>")
    vocabulary = Tokenizer(model)
    vocabulary.pre_tokenizer = ByteLevel(add_prefix_space=False, use_regex=False)
    return vocabulary


def _byte_symbols() -> list[str]:
    """The characters that stand for bytes, in the vocabulary's order: those that can be seen first."""
    seen = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    return [*map(chr, seen), *(chr(256 + number) for number in range(256 - len(seen)))]


@lru_cache(_KEPT_WORDS)
def _ids(word: str) -> tuple[int, ...]:
    return tuple(_vocabulary().encode(word).ids)


def clean(text: str) -> str:
    """Mojibake repaired, HTML unescaped twice, white space collapsed."""
    return " ".join(html.unescape(html.unescape(ftfy.fix_text(text))).split())


def ids(text: str) -> list[int]:
    """The ids of a text, without start and end; "<|endoftext|>" in it is a text like any other."""
    return [number for word in _WORD.findall(clean(text).lower()) for number in _ids(word)]


@dataclass(frozen=True)
class ClipTokenizer:
    """Start 49406, end 49407, zero padding; a text that is too long is cut and ends with the end token."""

    context: int = 77
    """Ids per text, start and end included."""

    def __call__(self, texts: Sequence[str]) -> Int64[np.ndarray, "n context"]:
        """One row of ids per text."""
        rows = np.zeros((len(texts), self.context), np.int64)
        for row, text in zip(rows, texts, strict=True):
            found = [START, *ids(text)[: self.context - 2], END]
            row[: len(found)] = found
        return rows
