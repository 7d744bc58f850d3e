"""Which stories are told: held-out ones never in training."""

import numpy as np

from pipeline.demo.plans import Storyteller


def test_held_out_stories_have_four_things_each_and_no_two_the_same_four():
    teller = Storyteller(np.random.default_rng(0))
    shown = [frozenset(event.thing for event in teller.held_out()) for _ in range(150)]
    assert {len(things) for things in shown} == {4}
    assert len(set(shown)) == 150


def test_no_four_events_in_a_row_are_told_twice():
    teller = Storyteller(np.random.default_rng(0))
    stories = [teller.held_out() for _ in range(50)]
    stories += [teller.clip() for _ in range(200)] + [teller.two_clips() for _ in range(200)]
    windows = [frozenset(s[i : i + 4]) for s in stories for i in range(len(s) - 3)]
    assert len(windows) == 250 + 200 * 5
    assert len(set(windows)) == len(windows)


def test_three_quarters_of_training_clips_show_four_different_things():
    teller = Storyteller(np.random.default_rng(0))
    distinct = [len({event.thing for event in teller.clip()}) == 4 for _ in range(2000)]
    assert abs(np.mean(distinct) - 0.75) < 0.04


def test_a_twin_is_the_same_events_in_another_order():
    teller = Storyteller(np.random.default_rng(0))
    story = teller.clip()
    twin = teller.twin(story)
    assert twin != story
    assert sorted(twin) == sorted(story)
