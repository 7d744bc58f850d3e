from dataclasses import replace

import pytest

from tests.trainers.tiny import training
from tune.curve import as_csv, as_png, disagreement
from tune.halving import goes_on, rungs
from tune.space import Grid, LogUniform, Search
from tune.trials import (
    Failed,
    SearchResult,
    Setting,
    Trial,
    best_by_depth,
    num_trials,
    planned,
    trial_training,
    winner,
)

RATE = "stages.0.optimizer.lr_rest"


def trial(depth: int, seed: int, score: float, other: float = 0.0, stopped: bool = False) -> Trial:
    return Trial(depth, seed, {"D": score, "B": other}, "checkpoint", "run", step=8, stopped=stopped)


def test_the_best_mean_over_seeds_wins_and_of_equals_the_deepest() -> None:
    trials = [trial(0, 0, 50.0), trial(0, 1, 10.0), trial(1, 0, 30.0), trial(1, 1, 30.0), trial(2, 0, 29.0)]
    assert winner(trials, "D") == Setting(1)
    of_100 = {2: (56, 58, 59), 3: (58, 57, 58)}  # as many clips, and another sum after rounding
    shares = [
        trial(d, seed, 100 * (count / 100))
        for d, counts in of_100.items()
        for seed, count in enumerate(counts)
    ]
    assert winner(shares, "D") == Setting(3)


def test_a_setting_with_fewer_finished_seeds_than_another_does_not_win() -> None:
    trials = [trial(0, 0, 30.0), trial(0, 1, 30.0), trial(1, 0, 99.0), trial(1, 1, 99.0, stopped=True)]
    assert winner(trials, "D") == Setting(0)


def test_the_curve_shows_the_best_setting_of_each_depth_and_a_depth_that_was_stopped_too() -> None:
    slow = replace(trial(0, 0, 10.0), values={RATE: 1e-6})
    fast = replace(trial(0, 0, 40.0), values={RATE: 1e-3})
    weak = trial(2, 0, 5.0, stopped=True)
    assert best_by_depth([slow, fast, weak], "D") == {0: [fast], 2: [weak]}


def test_every_depth_is_tried_with_every_seed_and_every_value_of_a_grid() -> None:
    found = planned(Search(depths=(0, 2), seeds=(3, 4)), training(1))
    assert found == [(Setting(0), 3), (Setting(0), 4), (Setting(2), 3), (Setting(2), 4)]
    grid = Search(depths=(0, 2), space={RATE: Grid((1e-3, 1e-2))})
    assert [setting.values[RATE] for setting, _ in planned(grid, training(1))] == [1e-3, 1e-2] * 2


def test_the_same_draws_come_at_every_depth_and_whenever_they_are_asked_for() -> None:
    search = Search(depths=(0, 2), space={RATE: LogUniform(1e-6, 1e-3)}, samples=3)
    rates = [setting.values[RATE] for setting, _ in planned(search, training(1))]
    assert rates[:3] == rates[3:]
    assert len(set(rates)) == 3
    assert planned(search, training(1)) == planned(search, training(1))
    assert num_trials(replace(search, sampler="optuna", samples=5, seeds=(0, 1)), training(1)) == 10


def test_a_space_alone_is_searched_at_the_depth_of_the_recipe() -> None:
    assert [s.depth for s, _ in planned(Search(space={RATE: Grid((1e-3,))}), training(1))] == [1]


@pytest.mark.parametrize("name", ["seed", "launch.workers", "stages.1.steps", "stages.0.frozen_text_blocks"])
def test_what_a_search_sets_itself_or_does_not_train_is_no_part_of_the_space(name: str) -> None:
    recipe = training(1)
    with pytest.raises(ValueError, match=f"search.space: {name} is "):
        planned(Search(space={name: Grid((1,))}), replace(recipe, stages=recipe.stages[:1]))


def test_a_trial_differs_from_the_recipe_in_its_setting_seed_and_steps_only() -> None:
    recipe = training(9)
    varied = trial_training(recipe, Search(steps=4), Setting(2, {RATE: 0.5}), seed=5)
    faster = replace(recipe.stages[0].optimizer, lr_rest=0.5)
    assert varied.stages[0] == replace(recipe.stages[0], frozen_text_blocks=2, steps=4, optimizer=faster)
    assert replace(varied, stages=recipe.stages, seed=recipe.seed) == recipe


def test_a_trial_is_named_by_its_setting() -> None:
    assert Setting(3, {RATE: 0.00025}).name(1) == "depth-3-lr_rest-0.00025-seed-1"


def test_the_better_half_of_those_that_came_so_far_goes_on() -> None:
    assert rungs(80) == (20, 40)
    assert rungs(3) == ()
    assert goes_on(1.0, [])
    assert [goes_on(score, [10.0, 20.0, 30.0]) for score in (5.0, 15.0, 25.0, 35.0)] == [
        False,
        False,
        True,
        True,
    ]


def result() -> SearchResult:
    trials = (trial(0, 0, 40.0, 60.0), trial(2, 0, 50.0, 20.0), trial(1, 0, 7.0, 7.0, stopped=True))
    failed = (Failed(1, 1, "the disk was full"),)
    return SearchResult(trials, Setting(2), {"D": 45.0}, failed)


def test_a_depth_that_wins_in_the_words_trained_on_and_loses_in_others_is_said() -> None:
    told = disagreement(result(), Search(metric="D", against="B"))
    assert told == (
        "B is best with 0 blocks frozen (60.0, with 2: 20.0), but D is 40.0 there and 50.0 with 2."
    )
    assert disagreement(result(), Search(metric="D", against="D")) == ""


def test_the_table_holds_every_trial_and_the_failed_ones_with_their_reason() -> None:
    rows = as_csv(result()).decode().splitlines()
    assert rows[0] == "depth,seed,state,step,B,D,wall_s,device_s"
    assert rows[1:] == [
        ",,start,0,,45.0",
        "0,0,finished,8,60.0,40.0,0.0,0.0",
        "2,0,finished,8,20.0,50.0,0.0,0.0",
        "1,0,stopped,8,7.0,7.0,0.0,0.0",
        "1,1,failed: the disk was full,",
    ]
    assert as_png(result(), Search(metric="D", against="B")).startswith(b"\x89PNG")
