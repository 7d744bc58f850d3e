from dataclasses import dataclass, field

from tune.halving import goes_on, halved, rungs


def test_the_better_half_of_those_that_came_so_far_goes_on() -> None:
    assert rungs(80) == (20, 40)
    assert rungs(3) == ()
    assert goes_on(1.0, [], more_is_better=True)
    scores = (5.0, 15.0, 25.0, 35.0)
    earlier = [10.0, 20.0, 30.0]
    assert [goes_on(score, earlier, more_is_better=True) for score in scores] == [False, False, True, True]
    assert [goes_on(score, earlier, more_is_better=False) for score in scores] == [True, True, False, False]


@dataclass(frozen=True)
class Reached:
    checkpoint: str
    step: int


@dataclass
class Training:
    """One of 80 steps whose checkpoints are named by their step."""

    asked: list[int | None] = field(default_factory=list)

    def __call__(self, until: int | None) -> Reached:
        self.asked.append(until)
        return Reached(f"checkpoint-{until or 80}", until or 80)


def test_a_trial_that_is_always_better_trains_to_its_end_by_way_of_both_rungs() -> None:
    training, seen = Training(), list[tuple[int, str]]()

    def better(rung: int, checkpoint: str) -> bool:
        seen.append((rung, checkpoint))
        return True

    assert halved(80, training, better) == ("checkpoint-80", 80, False)
    assert training.asked == [20, 40, None]
    assert seen == [(20, "checkpoint-20"), (40, "checkpoint-40")]


def test_a_trial_in_the_worse_half_is_not_trained_beyond_its_rung() -> None:
    training = Training()
    assert halved(80, training, lambda rung, checkpoint: rung < 40) == ("checkpoint-40", 40, True)
    assert training.asked == [20, 40]


def test_too_few_steps_for_rungs_are_trained_at_once() -> None:
    training = Training()
    assert halved(3, training, lambda rung, checkpoint: False) == ("checkpoint-80", 80, False)
    assert training.asked == [None]


def test_of_trials_that_come_one_after_another_the_better_half_of_those_so_far_goes_on() -> None:
    scores, finished, so_far = [10.0, 30.0, 20.0, 40.0, 5.0], [], list[float]()
    for score in scores:

        def better(rung: int, checkpoint: str, score: float = score) -> bool:
            on = rung > 20 or goes_on(score, so_far, more_is_better=True)
            if rung == 20:
                so_far.append(score)
            return on

        if not halved(80, Training(), better)[2]:
            finished.append(score)
    assert finished == [10.0, 30.0, 40.0]
