"""Where an endless order of input shards begins for a row, worked out by hand."""

from ingest.order.input_shards import ShardOrder

SLOTS = ShardOrder(num_shards=3, seed=5)


def counts(*by_place: int | None) -> list[int | None]:
    """Clips by number of the input shard, given in the order of the first epoch."""
    found: list[int | None] = [None] * 3
    for place, count in enumerate(by_place):
        found[SLOTS.shard(place)] = count
    return found


def test_each_epoch_takes_every_shard_once_and_not_in_the_same_order() -> None:
    orders = [tuple(SLOTS.shard(3 * epoch + place) for place in range(3)) for epoch in range(6)]
    assert {tuple(sorted(order)) for order in orders} == {(0, 1, 2)}
    assert len(set(orders)) > 1
    assert [SLOTS.epoch(slot) for slot in range(7)] == [0, 0, 0, 1, 1, 1, 2]


def test_it_begins_with_the_slot_that_holds_the_row() -> None:
    seen = counts(4, 0, 6)  # ten clips an epoch; the second shard has none
    assert [SLOTS.start(row, seen) for row in (0, 3, 4, 9)] == [(0, 0), (0, 0), (2, 4), (2, 4)]
    slot, row = SLOTS.start(25, seen)
    assert SLOTS.epoch(slot) == 2
    assert 20 <= row <= 25 < row + (seen[SLOTS.shard(slot)] or 0)


def test_it_begins_no_later_than_with_the_first_unseen_shard() -> None:
    assert SLOTS.start(25, counts(4, None, 6)) == (1, 4)
    assert SLOTS.start(3, counts(4, None, 6)) == (0, 0)
    assert SLOTS.start(25, counts(None, None, None)) == SLOTS.start(25, counts(0, 0, 0)) == (0, 0)
