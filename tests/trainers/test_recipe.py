"""Which stream a step takes, and what rate it has: pure functions of the step."""

from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest

from tests.trainers.tiny import CAPTIONED, NARRATED, training
from trainers.data.feed import steps_of
from trainers.recipe import Alternate, Constant, Cosine, Course, Drops, Linear, Ratio, Schedule, SeededDraw


def test_streams_alternate() -> None:
    assert [Alternate()(step, 0, 3) for step in range(7)] == [0, 1, 2, 0, 1, 2, 0]


@pytest.mark.parametrize("steps", [(3, 1), (5, 2, 1), (1, 1), (0, 2), (7, 3)])
def test_a_ratio_gives_each_stream_its_steps_and_spreads_them_evenly(steps: tuple[int, ...]) -> None:
    schedule, total = Ratio(steps), sum(steps)
    order = [schedule(step, 0, len(steps)) for step in range(3 * total)]
    assert order == order[:total] * 3
    assert [order[:total].count(index) for index in range(len(steps))] == list(steps)
    for index, share in enumerate(steps):
        places = [place for place, taken in enumerate(order) if taken == index]
        gaps = [later - earlier for earlier, later in pairwise(places)]
        assert all(abs(gap - total / share) < 2 for gap in gaps)


def test_a_draw_is_decided_by_seed_and_step_alone_and_keeps_to_its_shares() -> None:
    schedule = SeededDraw((3.0, 1.0, 4.0))
    order = [schedule(step, 7, 3) for step in range(4000)]
    assert [schedule(step, 7, 3) for step in (2999, 5, 17)] == [order[2999], order[5], order[17]]
    assert order != [schedule(step, 8, 3) for step in range(4000)]
    shares = Counter(order)
    assert [shares[index] / 4000 for index in range(3)] == pytest.approx([0.375, 0.125, 0.5], abs=0.03)
    alike = Counter(SeededDraw()(step, 7, 2) for step in range(4000))
    assert alike[0] / 4000 == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize(
    ("schedule", "field"),
    [
        (Ratio((1, 2, 3)), "steps"),
        (Ratio((0, 0)), "steps"),
        (SeededDraw((1.0,)), "shares"),
        (SeededDraw((-1.0, 2.0)), "shares"),
    ],
)
def test_a_schedule_of_other_streams_is_refused(schedule: Schedule, field: str) -> None:
    with pytest.raises(ValueError, match=rf"schedule\.{field}: .* of 2 streams"):
        schedule(0, 0, 2)


@pytest.mark.parametrize("schedule", [Alternate(), Ratio((3, 1)), SeededDraw((1.0, 2.0))])
def test_steps_of_a_stream_are_counted_as_they_are_taken(schedule: Schedule) -> None:
    stage = replace(training(50).stages[0], schedule=schedule)
    order = [schedule(step, 3, 2) for step in range(50)]
    for index in (0, 1):
        assert steps_of(stage, 3, index, 11, 43) == order[11:43].count(index)


def test_rates_drop_after_the_sixth_and_the_eighth_epoch() -> None:
    course = Drops(steps_per_epoch=10)
    factors = [course(step, 100) for step in (0, 59, 60, 79, 80, 99)]
    assert factors == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])


@pytest.mark.parametrize(
    ("course", "factors"),  # steps 0, 3, 4, 8 and 12 of 12
    [
        (Constant(), [1, 1, 1, 1, 1]),
        (Constant(warmup_steps=4), [0.25, 1, 1, 1, 1]),
        (Linear(warmup_steps=4), [0.25, 1, 1, 0.5, 0]),
        (Linear(floor=0.1), [1, 0.775, 0.7, 0.4, 0.1]),
        (Cosine(warmup_steps=4), [0.25, 1, 1, 0.5, 0]),
        (Cosine(warmup_steps=4, floor=0.2), [0.25, 1, 1, 0.6, 0.2]),
        (Cosine(warmup_steps=4, from_zero=True), [0, 0.75, 1, 0.5, 0]),
        (Cosine(), [1, (1 + 0.5**0.5) / 2, 0.75, 0.25, 0]),
    ],
    ids=str,
)
def test_courses_are_those_worked_out_by_hand(course: Course, factors: list[float]) -> None:
    assert [course(step, 12) for step in (0, 3, 4, 8, 12)] == pytest.approx(factors)


def test_every_tower_gets_its_number_of_frozen_blocks_and_there_is_no_other() -> None:
    recipe = training(1)
    assert recipe.stages[0].frozen_below == {"video": 0, "text": 1}
    with pytest.raises(ValueError, match=r"frozen_below\.txt: there is no such tower; did you mean 'text'"):
        replace(recipe, stages=(replace(recipe.stages[0], frozen_below={"txt": 1}),))
    with pytest.raises(ValueError, match=r"frozen_below\.text is 3, but the tower has 2 blocks"):
        replace(recipe, stages=(replace(recipe.stages[0], frozen_below={"text": 3}),))


def test_a_stream_weighs_objectives_of_its_stage_alone() -> None:
    wrong = replace(CAPTIONED, objectives={"contrastve": 1.0})
    recipe = training(1)
    with pytest.raises(
        ValueError, match=r"'captioned': objectives names an unknown 'contrastve'; did you mean 'contra"
    ):
        replace(recipe, stages=(replace(recipe.stages[0], streams=(NARRATED, wrong)),))
