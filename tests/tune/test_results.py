from dataclasses import replace

import pytest

from tests.trainers.tiny import NARRATED, training
from trainers.evaluation.protocol import Declared
from trainers.recipe import Stage, Training
from tune.curve import as_csv, as_png, disagreement, points
from tune.results import Failed, SearchResult, Trial, shown_numbers, winner
from tune.settings import Setting, check_search, num_trials, planned, trial_training
from tune.space import Grid, LogUniform, Search

FROZEN, RATE = "stages.0.frozen_below.text", "stages.0.optimizer.rates.rest.lr"
D, B = (Declared(name, f"register {name}", "Retrieval", leading=True) for name in "DB")
RANK = Declared("rank", "median rank", "Retrieval", more_is_better=False, unit="")
CONTROL = Declared("control", "control", "Sorting", more_is_better=None)
DECLARED = {number.name: number for number in (RANK, D, B, CONTROL)}
SEARCH = Search(space={FROZEN: Grid((0, 2, 1))}, metric="D", against="B")


def frozen(count: int) -> Setting:
    return Setting({FROZEN: count})


def trial(count: int, seed: int, score: float, other: float = 0.0, stopped: bool = False) -> Trial:
    return Trial(frozen(count), seed, {"D": score, "B": other}, "checkpoint", "run", step=8, stopped=stopped)


def two_stages() -> Training:
    first = training(9)
    last = Stage("last", (replace(NARRATED, name="more"),), first.stages[0].objectives, steps=5)
    return replace(first, stages=(*first.stages, last))


def test_the_best_mean_over_seeds_wins_and_of_equals_the_later() -> None:
    trials = [trial(0, 0, 50.0), trial(0, 1, 10.0), trial(1, 0, 30.0), trial(1, 1, 30.0), trial(2, 0, 29.0)]
    assert winner(trials, D) == frozen(1)
    of_100 = {2: (56, 58, 59), 3: (58, 57, 58)}  # as many clips, and another sum after rounding
    shares = [
        trial(count, seed, 100 * (clips / 100))
        for count, seeds in of_100.items()
        for seed, clips in enumerate(seeds)
    ]
    assert winner(shares, D) == frozen(3)


def test_of_a_number_that_is_better_the_less_it_is_the_least_wins() -> None:
    trials = [trial(0, 0, 5.0), trial(1, 0, 2.0), trial(2, 0, 2.0), trial(3, 0, 9.0)]
    assert winner(trials, replace(D, more_is_better=False)) == frozen(2)


def test_a_setting_with_fewer_finished_seeds_than_another_does_not_win() -> None:
    trials = [trial(0, 0, 30.0), trial(0, 1, 30.0), trial(1, 0, 99.0), trial(1, 1, 99.0, stopped=True)]
    assert winner(trials, D) == frozen(0)


def test_the_curve_shows_the_best_setting_of_each_value_and_a_value_that_was_stopped_too() -> None:
    slow, fast = (
        replace(trial(0, 0, score), setting=Setting({FROZEN: 0, RATE: rate}))
        for rate, score in ((1e-6, 10.0), (1e-3, 40.0))
    )
    weak = trial(2, 0, 5.0, stopped=True)
    found = SearchResult((slow, fast, weak), fast.setting, shown=(D,))
    assert [(point.x, point.trials) for point in points(SEARCH, [found])] == [(0, (fast,)), (2, (weak,))]
    least = replace(found, shown=(replace(D, more_is_better=False),))
    assert points(SEARCH, [least])[0].trials == (slow,)
    both = points(SEARCH, [found, least])  # of two seeds, each with its own best
    assert both[0].trials == (fast, slow)


def test_without_an_axis_every_setting_is_a_point() -> None:
    forms = tuple(
        Trial(Setting({"stages.0.optimizer.form": form}), 0, {"D": score}, "", "")
        for form, score in (("published", 3.0), ("torch", 5.0))
    )
    found = SearchResult(forms, forms[1].setting, shown=(D,))
    search = Search(space={"stages.0.optimizer.form": Grid(("published", "torch"))}, metric="D")
    assert [(point.x, point.label) for point in points(search, [found])] == [
        (0, "optimizer.form-published"),
        (1, "optimizer.form-torch"),
    ]
    assert as_png(found, search).startswith(b"\x89PNG")


def test_every_value_of_a_grid_is_tried_with_every_seed_and_every_value_of_the_others() -> None:
    found = planned(Search(space={FROZEN: Grid((0, 2))}, seeds=(3, 4)))
    assert found == [(frozen(0), 3), (frozen(0), 4), (frozen(2), 3), (frozen(2), 4)]
    both = Search(space={FROZEN: Grid((0, 2)), RATE: Grid((1e-3, 1e-2))})
    assert [tuple(setting.values.values()) for setting, _ in planned(both)] == [
        (0, 1e-3),
        (0, 1e-2),
        (2, 1e-3),
        (2, 1e-2),
    ]


def test_the_same_draws_come_at_every_value_of_a_grid_and_whenever_they_are_asked_for() -> None:
    search = Search(space={FROZEN: Grid((0, 2)), RATE: LogUniform(1e-6, 1e-3)}, samples=3)
    rates = [setting.values[RATE] for setting, _ in planned(search)]
    assert rates[:3] == rates[3:]
    assert len(set(rates)) == 3
    assert planned(search) == planned(search)
    assert num_trials(replace(search, sampler="optuna", samples=5, seeds=(0, 1))) == 10


def test_every_variant_is_tried_with_all_that_the_space_gives_and_its_name_is_seen() -> None:
    variants = {"as_is": {}, "fast": {RATE: 0.5, "stages.0.optimizer.eps": 0.1}}
    search = Search(space={FROZEN: Grid((0, 2))}, variants=variants, metric="D")
    names = [setting.name(seed) for setting, seed in planned(search)]
    assert names[:2] == ["as_is-frozen_below.text-0-seed-0", "as_is-frozen_below.text-2-seed-0"]
    assert names[2:] == ["fast-frozen_below.text-0-seed-0", "fast-frozen_below.text-2-seed-0"]
    changed = trial_training(training(9), search, Setting({FROZEN: 2}, "fast"), seed=0).stages[0]
    assert (changed.frozen_below["text"], changed.optimizer.rates["rest"].lr) == (2, 0.5)
    assert (changed.optimizer.eps, changed.optimizer.rates["new"].lr) == (0.1, 1e-2)
    alone = Search(variants=variants)
    assert alone.wanted
    assert planned(alone) == [(Setting({}, "as_is"), 0), (Setting({}, "fast"), 0)]


@pytest.mark.parametrize(
    ("search", "told"),
    [
        *((Search(space={name: Grid((1,))}), f"search.space: {name} is not what a trial of stage tiny is")
          for name in ("seed", "launch.workers", "stages.1.optimizer.eps")),
        (Search(space={"stages.0.steps": Grid((1,))}), "search.space: stages.0.steps is set by search.steps"),
        (Search(space={FROZEN: Grid((0, 3))}), "frozen_below.text is 3, but the tower has 2 blocks"),
        (Search(space={RATE: LogUniform(1, 2)}, variants={"a": {RATE: 1.0}}), f"a: {RATE} is a field of search.space"),
        (Search(variants={"a": {"seed": 1}}), "search.variants: a: seed is not what a trial"),
        (Search(space={FROZEN: Grid((0,))}, stages=2, scheduler="asha"), "asha compares trials within one stage"),
        (Search(space={FROZEN: Grid((0,))}, stages=3), "there are not 3 stages from stage 0 on; the recipe has 2"),
        (Search(space={FROZEN: Grid((0,))}, stages=0), "there are not 0 stages"),
        (SEARCH, "search.metric is not set; name the number that decides, such as D, B"),
        (replace(SEARCH, metric="Dd"), r"search\.metric: nothing declares 'Dd'; did you mean 'D'\?"),
        (replace(SEARCH, metric="control"), "neither more nor less is better"),
        (replace(SEARCH, metric="D", against="rang"), r"search\.against: nothing declares 'rang'; did you mean 'rank'"),
    ],
)  # fmt: skip
def test_what_cannot_be_searched_or_decided_by_is_refused_before_anything_is_trained(
    search: Search, told: str
) -> None:
    metric = "" if search is SEARCH else search.metric or "rank"
    with pytest.raises(ValueError, match=told):
        check_search(replace(search, stage=0, metric=metric), two_stages(), DECLARED)


def test_a_trial_differs_from_the_recipe_in_its_setting_seed_and_steps_only() -> None:
    recipe = training(9)
    varied = trial_training(recipe, Search(steps=4), Setting({FROZEN: 2, RATE: 0.5}), seed=5)
    rates = recipe.stages[0].optimizer.rates
    faster = replace(recipe.stages[0].optimizer, rates={**rates, "rest": replace(rates["rest"], lr=0.5)})
    assert varied.stages[0] == replace(
        recipe.stages[0], frozen_below={"video": 0, "text": 2}, steps=4, optimizer=faster
    )
    assert replace(varied, stages=recipe.stages, seed=recipe.seed) == recipe


def test_a_trial_of_two_stages_has_the_length_and_may_have_a_setting_of_both() -> None:
    search = Search(space={"stages.1.optimizer.eps": Grid((0.5,))}, stage=0, stages=2, steps=3, metric="D")
    recipe = two_stages()
    check_search(search, recipe, DECLARED)
    varied = trial_training(recipe, search, planned(search)[0][0], seed=0)
    assert [(stage.steps, stage.optimizer.eps) for stage in varied.stages] == [(3, 1e-6), (3, 0.5)]


def test_a_trial_is_named_by_its_setting() -> None:
    assert frozen(3).name(1) == "frozen_below.text-3-seed-1"
    setting = Setting({FROZEN: 3, RATE: 0.00025, "init": "s3://a/b"})
    assert setting.name(1) == "frozen_below.text-3-rates.rest.lr-0.00025-init-s3___a_b-seed-1"


def result() -> SearchResult:
    trials = (trial(0, 0, 40.0, 60.0), trial(2, 0, 50.0, 20.0), trial(1, 0, 7.0, 7.0, stopped=True))
    failed = (Failed(frozen(1), 1, "the disk was full"),)
    return SearchResult(trials, frozen(2), {"D": 45.0}, failed, shown=(D, B))


def test_a_value_that_wins_in_another_number_and_loses_in_the_deciding_one_is_said() -> None:
    search = replace(SEARCH, words={FROZEN: "blocks frozen"})
    assert disagreement(result(), search) == (
        "blocks frozen: B is best at 0 (60, at 2: 20), but D is 40 there and 50 at 2."
    )
    assert disagreement(result(), replace(SEARCH, against="D")) == ""
    less = replace(result(), shown=(D, replace(B, more_is_better=False)))
    assert "B is best at 1 (7, at 2: 20)" in disagreement(less, search)


def test_the_deciding_number_is_shown_first_and_then_the_leading_ones() -> None:
    search = replace(SEARCH, metric="rank", against="")
    scored = [replace(one, metrics={**one.metrics, "rank": 1.0, "control": 2.0}) for one in result().trials]
    assert shown_numbers(scored, search, DECLARED) == (RANK, D, B)
    only_d = replace(scored[0], metrics={"rank": 1.0, "D": 2.0})
    assert shown_numbers([*scored, only_d], search, DECLARED) == (RANK, D)


def test_the_table_holds_every_trial_and_the_failed_ones_with_their_reason() -> None:
    rows = as_csv(result()).decode().splitlines()
    assert rows[0] == f"{FROZEN},seed,state,step,B,D,wall_s,device_s"
    assert rows[1:] == [
        ",,start,0,,45.0",
        "0,0,finished,8,60.0,40.0,0.0,0.0",
        "2,0,finished,8,20.0,50.0,0.0,0.0",
        "1,0,stopped,8,7.0,7.0,0.0,0.0",
        "1,1,failed: the disk was full",
    ]
    assert as_png(result(), SEARCH).startswith(b"\x89PNG")
    named = replace(trial(0, 0, 1.0), setting=Setting({FROZEN: 0}, "fast"))
    assert (
        as_csv(replace(result(), trials=(named,), failed=())).decode().splitlines()[2].startswith("0,fast,0,")
    )
