"""Checkpoints scored beside a real training under Ray Train, and which of them is handed on."""

import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from infra.cpus import CpuPlan
from infra.errors import UserError
from infra.session import Session
from tests.trainers.drivers import Place, recipe_of, wait_until
from trainers.checkpoints.run_folder import Committed, all_committed, checkpoint_step
from trainers.cluster.scoring import check_gpus
from trainers.evaluation.protocol import Declared
from trainers.evaluation.validation import PREFIX, Best, Validation
from trainers.launch_settings import Launch

STEPS = 18
UP = Declared("R", "", "")
DOWN = Declared("R", "", "", more_is_better=False)


@dataclass(frozen=True)
class Away:
    """Scores a checkpoint by its steps from the eighth; the first waits for a file, and that of step 12 fails."""

    file: Path

    def __call__(self, checkpoint: str) -> dict[str, float]:
        step = checkpoint_step(checkpoint)
        assert (Path(checkpoint) / "model.safetensors").exists()
        while not self.file.exists():
            time.sleep(0.05)
        if step == 12:
            raise UserError("no place left")
        return {"away": abs(step - 8)}


@pytest.mark.usefixtures("ray_local")
def test_training_goes_on_while_a_checkpoint_is_scored_and_the_best_is_kept_and_handed_on(
    tmp_path: Path,
) -> None:
    place, recipe = Place(tmp_path, 1_000), recipe_of(STEPS)
    place.write()
    recipe = replace(recipe, launch=replace(recipe.launch, keep_checkpoints=1))
    run = place.new_run()
    scored_when_done: list[int] = []

    def release() -> None:
        wait_until(lambda: run.metrics().get("step", 0) == STEPS)  # the training waits for no score
        scored_when_done.append(len(run.history(PREFIX + "away")))
        place.release()

    releaser = threading.Thread(target=release, daemon=True)
    releaser.start()
    nearest = Validation(Away(tmp_path / "released"), Best("away", "min"), num_cpus=0.5)
    trained = place.train(recipe, run, nearest)
    releaser.join()
    assert scored_when_done == [0]
    assert (trained.step, trained.metrics[PREFIX + "away"]) == (8, 0)
    assert run.history(PREFIX + "away") == [(4, 4), (8, 0), (16, 8), (18, 10)]
    assert run.history("validation_failed") == [(4, 0), (8, 0), (12, 1), (16, 0), (18, 0)]
    assert [kept.step for kept in all_committed(place.run_folder)] == [8, 18]
    # Another rule chooses among those kept and trains nothing; a score that there is not is asked for and not found.
    assert place.train(recipe, run, replace(nearest, best=Best("away", "max"))).step == STEPS
    with pytest.raises(
        UserError, match=r"checkpoint_00000008 could not be scored: .*no score 'far'; there are away"
    ):
        place.train(recipe, run, replace(nearest, best=Best("far", "max")))


def test_of_equal_scores_the_latest_is_the_best() -> None:
    scores = {2: 5.0, 4: 7.0, 6: 7.0, 8: 6.0}
    kept = [Committed(str(step), step, {PREFIX + "R": value}) for step, value in scores.items()]
    assert Best.named("max:R", {"R": UP}).of([*kept, Committed("9", 9, {})]).step == 6
    assert Best.named("min:R", {"R": DOWN}).of(kept).step == 2


def test_the_order_of_a_declared_score_can_be_left_out_and_the_other_one_is_refused() -> None:
    declared = {"B/t2v_R1": UP, "B/t2v_MedR": DOWN, "control": replace(UP, more_is_better=None)}
    assert Best.named("B/t2v_R1", declared) == Best("B/t2v_R1", "max")
    assert Best.named("B/t2v_MedR", declared) == Best("B/t2v_MedR", "min")
    assert Best.named("min:control", declared) == Best("control", "min")
    for name, sentence in {
        "B/t2v_R2": r"there is no score 'B/t2v_R2'; the nearest are B/t2v_R1",
        "min:B/t2v_R1": "min:B/t2v_R1 is the worst; write max:B/t2v_R1",
        "control": "of control neither more nor less is better; write max:control or min:control",
        "best:R": "'best:R' is neither SCORE nor max:SCORE nor min:SCORE",
        "max:": "'max:' is neither SCORE nor max:SCORE nor min:SCORE",
    }.items():
        with pytest.raises(ValueError, match=sentence):
            Best.named(name, declared)


def test_every_second_checkpoint_and_the_last_are_scored() -> None:
    second = Validation(lambda checkpoint: {}, every=2)
    assert [step for step in (10, 20, 30, 40, 50, 55) if second.wants(step, 55, 10)] == [20, 40, 55]


def test_a_gpu_that_the_training_takes_is_not_waited_for() -> None:
    plan, session = CpuPlan(0.0, 1.0, 1.0, 4, 1), Session(16.0, 2.0, 1, True)
    on_gpu = Validation(lambda checkpoint: {}, num_gpus=1.0)
    check_gpus(on_gpu, Launch(workers=1), plan, session)
    with pytest.raises(
        UserError, match=r"validation\.num_gpus 1 and 2 of the training workers are more than"
    ):
        check_gpus(on_gpu, Launch(workers=2), plan, session)
