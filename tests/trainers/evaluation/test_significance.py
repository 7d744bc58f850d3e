"""Intervals and luck, worked out by hand."""

import math

import pytest

from trainers.evaluation.protocol import Declared, Measured
from trainers.evaluation.significance import luck, wilson

SHARE = Declared("found", "found", "Found")


def test_half_of_three_trials_lies_one_deviation_from_a_quarter_and_three_quarters() -> None:
    # Where p is 1/4 or 3/4 the deviation of a share of 3 trials is sqrt(3/16 / 3) = 1/4: a half is one away from both.
    assert wilson(0.5, 3, z=1.0) == pytest.approx((0.25, 0.75))
    # None of 3: p itself is one deviation sqrt(p (1 - p) / 3) away from 0 where p = 1/4.
    assert wilson(0.0, 3, z=1.0) == pytest.approx((0.0, 0.25))


def test_the_interval_of_fifty_of_a_hundred_is_the_published_example() -> None:
    low, high = Measured(SHARE, 50.0, trials=100).interval or (0, 0)
    assert (round(low, 1), round(high, 1)) == (40.4, 59.6)
    assert Measured(SHARE, 50.0).interval is None  # no share of trials


def test_luck_is_the_upper_tail_of_the_binomial() -> None:
    assert luck(0, 10, 0.3) == pytest.approx(1.0)
    assert luck(2, 2, 0.5) == pytest.approx(0.25)
    assert luck(1, 3, 0.5) == pytest.approx(1 - 0.5**3)
    assert Measured(SHARE, 100.0, chance=50.0, trials=2).luck == pytest.approx(0.25)
    assert Measured(SHARE, 100.0, trials=2).luck is None


def test_luck_is_known_where_its_coefficients_are_no_floats() -> None:
    assert luck(1_501, 3_001, 0.5) == pytest.approx(0.5)
    assert 0 < luck(1_700, 3_000, 0.5) < math.exp(-20)
