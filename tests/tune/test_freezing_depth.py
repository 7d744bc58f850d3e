import pytest

from tests.trainers.tiny import training
from tune.freezing_depth import depths_of, with_depth


def test_a_range_of_depths_has_both_ends_and_nothing_means_the_quarters() -> None:
    assert depths_of("0:12:3", 12) == (0, 3, 6, 9, 12)
    assert depths_of("1:3", 12) == (1, 2, 3)
    assert depths_of((), 12) == (0, 3, 6, 9, 12)
    assert depths_of((), 2) == (0, 1, 2)
    assert depths_of((4, 2, 4), 12) == (4, 2)


@pytest.mark.parametrize(
    ("depths", "told"), [((0, 3), "3 is not within 0 to 2"), ("0-2", "'0-2' is neither a list nor a range")]
)
def test_depths_that_cannot_be_are_refused(depths: tuple[int, ...] | str, told: str) -> None:
    with pytest.raises(ValueError, match=rf"search\.depths: {told}"):
        depths_of(depths, 2)


def test_a_depth_is_set_in_one_stage() -> None:
    assert with_depth(training(9), 0, 2).stages[0].frozen_text_blocks == 2
