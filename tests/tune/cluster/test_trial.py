"""What one trial writes down, on a training that is finished already and so needs no Ray."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from mlflow import MlflowClient

from infra.cpus import CpuPlan
from infra.errors import UserError
from infra.session import Session
from infra.tracking import TrackedRun, tracking_for
from tests.tracker import lay_database
from tests.trainers.run_folders import write_run
from tests.trainers.tiny import training
from trainers.evaluation.protocol import Declared
from trainers.recipe import Training
from tune.cluster.job import SearchJob
from tune.cluster.trial import train_and_score
from tune.results import Trial
from tune.settings import Setting, trial_training
from tune.space import Grid, Search

FROZEN = "stages.0.frozen_below.text"
SEARCH = Search(space={FROZEN: Grid((1, 2))}, steps=8, metric="kept")
SETTING = Setting({FROZEN: 2})
Scores = tuple[dict[str, float], dict[str, float]]


def no_lineage(training: Training) -> Mapping[str, str]:
    return {}


def trial_of(
    folder: Path, score: Callable[[str], Scores], search: Search = SEARCH
) -> tuple[SearchJob, TrackedRun, Callable[[], Trial]]:
    """A trial whose training ended in an earlier call, the search it belongs to and the search's run."""
    lay_database(folder)
    run = tracking_for(str(folder)).start_run("search")
    declared = {"kept": Declared("kept", "blocks kept", "Blocks", unit="")}
    recipe = training(20, threads=1)
    job = SearchJob(recipe, search, {}, score, declared, str(folder / "search"), run, no_lineage)
    names = ["checkpoint_00000008"]
    trained = folder / "search" / SETTING.name(1)
    write_run(trained, trial_training(recipe, search, SETTING, 1), names, names)
    plan, session = CpuPlan(0.0, 1.0, 1.0, 4, 1), Session(4.0, 0.0, 1, True)
    return job, run, lambda: train_and_score(job, SETTING, 1, plan, session)


def test_a_trial_is_in_the_journal_and_its_run_closed_as_soon_as_it_has_its_scores(tmp_path: Path) -> None:
    asked: list[str] = []

    def score(checkpoint: str) -> Scores:
        asked.append(checkpoint)
        return {"kept": 0.75}, {"kept": 1.0}

    job, run, finish = trial_of(tmp_path, score)
    assert (job.journal.started(), job.journal.finished()) == ([], [])
    trial = finish()
    assert asked == [trial.checkpoint] == [str(tmp_path / "search" / SETTING.name(1) / "checkpoint_00000008")]
    assert (trial.metrics, trial.step, trial.stopped) == ({"kept": 0.75}, 8, False)
    assert job.journal.finished() == [trial]
    assert job.journal.kept("start", dict) == {"kept": 1.0}
    own = run.start_child(SETTING.name(1))
    assert trial.run_id == own.run_id
    assert own.history("kept") == [(8, 0.75)]
    found = MlflowClient(tracking_uri=run.uri).get_run(own.run_id)
    assert found.data.params == {FROZEN: "2", "seed": "1"}
    assert finish().metrics == trial.metrics
    assert len(asked) == 1  # scores are taken once


def test_a_trial_without_scores_has_failed_and_not_finished_and_finishes_when_it_is_tried_again(
    tmp_path: Path,
) -> None:
    answers: list[Scores] = [({"other": 1.0}, {}), ({"kept": 0.5, "other": 1.0}, {})]
    job, run, finish = trial_of(tmp_path, lambda checkpoint: answers.pop(0))
    with pytest.raises(UserError, match="the search's metric 'kept' is not among other"):
        finish()
    (begun,) = job.journal.started()
    assert (begun.setting, begun.seed, begun.name) == (SETTING, 1, SETTING.name(1))
    assert job.journal.finished() == []
    status = MlflowClient(tracking_uri=run.uri).get_run(begun.run_id).info.status
    assert status == "FAILED"
    assert finish().metrics == {"kept": 0.5, "other": 1.0}
    assert job.journal.has(SETTING, 1)
    assert MlflowClient(tracking_uri=run.uri).get_run(begun.run_id).info.status == "FINISHED"


def test_a_trial_is_compared_at_a_quarter_and_at_half_of_its_steps_and_the_best_so_far_goes_to_the_end(
    tmp_path: Path,
) -> None:
    job, run, finish = trial_of(
        tmp_path, lambda checkpoint: ({"kept": 0.8}, {}), replace(SEARCH, scheduler="asha")
    )
    for rung, kept in ((2, 0.2), (4, 0.4)):  # as an earlier call took them, before it went on
        job.journal.scores_at(rung, SETTING, 1, lambda kept=kept: {"kept": kept})  # type: ignore[misc]
    job.journal.scores_at(2, Setting({FROZEN: 1}), 1, lambda: {"kept": 0.1})  # another trial, that is worse
    trial = finish()
    assert (trial.step, trial.stopped, trial.metrics) == (8, False, {"kept": 0.8})
    assert run.start_child(SETTING.name(1)).history("kept") == [(2, 0.2), (4, 0.4), (8, 0.8)]
    assert job.journal.others_at(2, Setting({FROZEN: 1}), 1, "kept") == [0.2]  # the next is compared with it
    assert job.journal.others_at(4, Setting({FROZEN: 1}), 1, "kept") == [0.4]
