"""Alignment of raw and denoised words, against the rule written out the slow way."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ingest.formats.alignment import _Costs, _path, align_denoised, clean_words
from ingest.records import Word


def words(text: str) -> list[Word]:
    return [Word(word, float(number)) for number, word in enumerate(text.split())]


def test_entities_go_and_mojibake_is_repaired() -> None:
    cleaned = clean_words(words("&gt;&gt; cafÃ© [Music]&nbsp; so"))
    assert [(word.text, word.start_s) for word in cleaned] == [("café", 1.0), ("so", 3.0)]


def test_a_word_left_out_is_empty_and_a_word_put_in_joins_its_neighbour() -> None:
    aligned = align_denoised(words("we we are going home"), ["We are going straight home."])
    assert [word.text for word in aligned] == ["We", "", "are", "going straight", "home."]


def test_no_words_align_to_nothing() -> None:
    assert align_denoised([], ["some text"]) == []


@given(
    st.lists(st.lists(st.integers(0, 2), min_size=4, max_size=4), min_size=1, max_size=6), st.integers(1, 6)
)
def test_the_path_is_the_one_that_plain_recursion_finds(near: list[list[int]], radius: int) -> None:
    costs = np.full((len(near), 4), 9999, np.int64)
    stored = np.full((len(near), 2 * radius), 9999, np.uint16)
    for i, j in np.ndindex(*costs.shape):
        if i - radius <= j < i + radius:
            costs[i, j] = stored[i, j - i + radius] = near[i][j]
    assert _path(_Costs(stored, 4, radius)) == slow_path(costs)


def slow_path(costs: "np.typing.NDArray[np.int64]") -> list[tuple[int, int]]:
    """Totals cell by cell; back from the end by diagonal, then previous row, then previous column."""
    far = 10**9
    total: dict[tuple[int, int], int] = {}
    for i, j in np.ndindex(*costs.shape):
        before = [total.get(cell, far) for cell in ((i - 1, j - 1), (i - 1, j), (i, j - 1))]
        total[i, j] = int(costs[i, j]) + (min(before) if (i, j) != (0, 0) else 0)
    path = [(costs.shape[0] - 1, costs.shape[1] - 1)]
    while path[-1] != (0, 0):
        i, j = path[-1]
        path.append(min([(i - 1, j - 1), (i - 1, j), (i, j - 1)], key=lambda cell: total.get(cell, far)))
    return path[::-1]
