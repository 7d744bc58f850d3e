import gzip
import pickle
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

import trainers
from trainers.data.tokenizers import ClipTokenizer, clean, ids
from trainers.models.towers.text import trim_padding
from trainers.systems.tvtsv2.rows import draw_keep, num_kept


def test_markup_and_white_space_are_cleaned() -> None:
    assert clean("  a&amp;amp;b \n c ") == "a&b c"


AUTHORS = [
    320,
    2533,
    568,
    2225,
    267,
    272,
    280,
    280,
    271,
    1224,
    1097,
    35689,
    563,
    261,
    39121,
    44353,
    34002,
    508,
    43722,
]


@cache
def ranks() -> dict[tuple[str, str], int]:
    packed = Path(trainers.__file__).with_name("data") / "clip_merges.txt.gz"
    lines = gzip.decompress(packed.read_bytes()).decode().splitlines()[1:]
    return {tuple(line.split()): rank for rank, line in enumerate(lines)}  # type: ignore[misc]


def merged(word: str) -> list[str]:
    """The pieces of an ASCII word by the definition: of all neighbours those of the lowest rank are joined first."""
    pieces = [*word[:-1], f"{word[-1]}</w>"]
    while pairs := [pair for pair in pairwise(pieces) if pair in ranks()]:
        first = min(pairs, key=ranks().__getitem__)
        place = next(n for n, pair in enumerate(pairwise(pieces)) if pair == first)
        pieces[place : place + 2] = ["".join(first)]
    return pieces


@given(st.text("abcdefghijklmnopqrstuvwxyz", min_size=1, max_size=24))
def test_a_word_is_merged_as_the_definition_says(word: str) -> None:
    number = {"".join(pair): 512 + rank for pair, rank in ranks().items()}
    single = {chr(code): code - ord("!") for code in range(ord("!"), ord("~") + 1)}
    single |= {f"{letter}</w>": place + 256 for letter, place in single.items()}
    assert ids(word) == [number[piece] if piece in number else single[piece] for piece in merged(word)]


def test_ids_are_those_of_the_authors_tokenizer() -> None:
    """Recorded with openai/CLIP, whose tokenizer also gave the ids of 10,000 texts of letters of all scripts, white
    space, digits, emoji and markup (2026-11-26)."""
    assert ids("A person's hair, 1990 – naïve &amp; 日本語 👍🏽") == AUTHORS
    assert ids("") == []


def test_the_end_token_cannot_be_written_into_a_caption() -> None:
    assert 49407 not in ids("<|endoftext|> and more")


def test_a_text_that_is_too_long_is_cut_and_ends_with_the_end_token() -> None:
    row = ClipTokenizer(context=5)(["word word word word word word"])[0]
    assert row.tolist() == [49406, 2653, 2653, 2653, 49407]


def test_the_tokenizer_travels_to_the_data_workers() -> None:
    tokenizer = pickle.loads(pickle.dumps(ClipTokenizer(8)))
    assert tokenizer(["hair"]).tolist() == ClipTokenizer(8)(["hair"]).tolist()
    assert tokenizer([]).shape == (0, 8)


def test_trimming_keeps_the_longest_text() -> None:
    tokens = torch.from_numpy(ClipTokenizer(77)(["a person", "a person brushing hair"]))  # 4 and 6 ids
    assert trim_padding(tokens, multiple=4).shape == (2, 8)
    assert trim_padding(tokens[:1], multiple=4).shape == (1, 4)


def test_kept_patches_are_the_start_of_a_permutation() -> None:
    assert num_kept(256, 0.7) == 76
    keep = draw_keep(49, 0.0, np.random.default_rng(0))
    assert sorted(keep.tolist()) == list(range(49))
    assert keep.tolist() != list(range(49))
