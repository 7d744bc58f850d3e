from dataclasses import replace

import pytest

from tests.trainers.tiny import training
from tune.freezing_depth import Trial, means, planned, trial_training, winner, with_depth
from tune.space import Search


def trial(depth: int, seed: int, score: float) -> Trial:
    return Trial(depth, seed, {"score": score}, "checkpoint", "run")


def test_the_best_mean_over_seeds_wins_and_of_equals_the_deepest() -> None:
    trials = [trial(0, 0, 50.0), trial(0, 1, 10.0), trial(1, 0, 30.0), trial(1, 1, 30.0), trial(2, 0, 29.0)]
    assert means(trials, "score") == {0: 30.0, 1: 30.0, 2: 29.0}
    assert winner(trials, "score") == 1


def test_every_depth_is_tried_with_every_seed() -> None:
    assert planned(Search(depths=(0, 2), seeds=(3, 4)), training(1)) == [(0, 3), (0, 4), (2, 3), (2, 4)]


def test_a_depth_that_the_text_tower_does_not_have_is_refused() -> None:
    with pytest.raises(ValueError, match=r"search\.depths: 3 is not within 0 to 2"):
        planned(Search(depths=(0, 3)), training(1))


def test_a_trial_differs_from_the_recipe_in_depth_seed_and_steps_only() -> None:
    recipe = training(9)
    varied = trial_training(recipe, Search(depths=(2,), steps=4), depth=2, seed=5)
    assert varied.stages[0] == replace(recipe.stages[0], frozen_text_blocks=2, steps=4)
    assert replace(varied, stages=recipe.stages, seed=recipe.seed) == recipe
    assert with_depth(recipe, 0, 2).stages[0].frozen_text_blocks == 2
