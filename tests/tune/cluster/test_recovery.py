"""A search whose driver is killed goes on with the same command."""

import subprocess
import sys
from pathlib import Path

import pytest
import ray
from mlflow import MlflowClient

from tests.ingest.clips import write_stream
from tests.tracker import lay_database
from tests.trainers.drivers import wait_until
from tests.tune.drivers import FROZEN, STEPS, new_run, search_in
from trainers.checkpoints.run_folder import latest_committed
from tune.results import Trial
from tune.trial_journal import TrialJournal


@pytest.mark.usefixtures("ray_local")
def test_after_sigkill_of_the_driver_finished_trials_are_kept_and_begun_ones_go_on(tmp_path: Path) -> None:
    lay_database(tmp_path)
    for stream in ("narrated", "captioned"):
        write_stream(str(tmp_path / "store"), stream, 24)
    folder = tmp_path / "runs" / "search"
    finished, begun = (str(folder / f"frozen_below.text-1-seed-{seed}") for seed in (0, 1))
    first = Trial(FROZEN, 0, {"seed": 0.0}, finished, "earlier", STEPS)
    TrialJournal(str(folder)).finish(first)  # as a trial does when it has its scores: see test_trial.py
    address = ray.get_runtime_context().gcs_address
    driver = subprocess.Popen([sys.executable, "-m", "tests.tune.drivers", address, str(tmp_path)])

    def second_at_4() -> bool:
        kept = latest_committed(begun)
        return kept is not None and kept.step >= 4

    wait_until(second_at_4, limit_s=300)  # it stops before its last steps
    driver.kill()
    driver.wait()
    (tmp_path / "released").touch()

    found = search_in(tmp_path)
    assert found.trials[0] == first
    assert not Path(finished).exists()  # nothing of it was made again
    second = found.trials[1]
    assert (len(found.trials), second.seed, second.step) == (2, 1, STEPS)
    client = MlflowClient(tracking_uri=new_run(tmp_path).uri)
    logged = [entry.step for entry in client.get_metric_history(second.run_id, "step")]
    assert set(logged) == set(range(1, STEPS + 1))
    assert len([step for step in logged if step <= 4]) == 4  # no step before the checkpoint is made again
