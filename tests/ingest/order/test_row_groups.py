"""The order of a stream: complete, seeded, and the same from wherever it is entered."""

from collections import Counter

import pytest

from ingest.order.row_groups import Order, RowGroup

GROUPS = tuple(RowGroup(f"part-{number}", 0, 3 + number % 4) for number in range(23))
ROWS = sum(group.num_rows for group in GROUPS)
Place = tuple[int, str, int]


def places(order: Order, first_row: int, num_rows: int) -> list[Place]:
    """(epoch, part, row in its part) of these positions."""
    found: list[Place] = []
    for window in order.windows(first_row, num_rows):
        assert window.position == first_row + len(found)
        rows = [(group.part, row) for group in window.groups for row in range(group.num_rows)]
        found += [(window.epoch, *rows[index]) for index in window.order]
    return found


def test_every_epoch_holds_every_row_once_and_each_in_another_order() -> None:
    found = places(Order(GROUPS, seed=5), 0, 2 * ROWS)
    epochs = [[place[1:] for place in found if place[0] == epoch] for epoch in (0, 1)]
    assert Counter(epochs[0]) == Counter(epochs[1]) == Counter(set(epochs[0]))
    assert len(epochs[0]) == ROWS
    assert epochs[0] != epochs[1]


@pytest.mark.parametrize("first_row", [0, 1, 17, ROWS - 1, ROWS, ROWS + 5, 2 * ROWS - 1])
def test_entering_anywhere_gives_the_tail_of_the_whole(first_row: int) -> None:
    order = Order(GROUPS, seed=5)
    assert places(order, first_row, 40) == places(order, 0, first_row + 40)[first_row:]


def test_cuts_cover_the_rows_without_gap_or_overlap() -> None:
    order = Order(GROUPS, seed=5, window_groups=2)
    cuts = order.cuts(7, 1000, max_cuts=9)
    assert len(cuts) <= 9
    together = [place for first, count in cuts for place in places(order, first, count)]
    assert together == places(order, 7, 1000)


def test_another_seed_is_another_order_and_the_same_seed_the_same() -> None:
    assert places(Order(GROUPS, 1), 0, ROWS) == places(Order(GROUPS, 1), 0, ROWS)
    assert places(Order(GROUPS, 1), 0, ROWS) != places(Order(GROUPS, 2), 0, ROWS)
