import pickle

import numpy as np
import torch

from trainers.data.tokenizers import ClipTokenizer, clean
from trainers.models.towers.text import trim_padding
from trainers.systems.tvtsv2.rows import draw_keep, num_kept


def test_markup_and_white_space_are_cleaned() -> None:
    assert clean("  a&amp;amp;b \n c ") == "a&b c"


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
