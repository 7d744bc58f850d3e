"""A search whose driver is killed goes on with the same command."""

import subprocess
import sys
from pathlib import Path

import pytest
import ray
from mlflow import MlflowClient

from tests.ingest.clips import write_stream
from tests.trainers.drivers import wait_until
from tests.tune.drivers import STEPS, new_run, search_in
from trainers.checkpoints.run_folder import latest_committed
from tune.trial_journal import TrialJournal


@pytest.mark.usefixtures("ray_local")
def test_after_sigkill_of_the_driver_finished_trials_are_kept_and_begun_ones_go_on(tmp_path: Path) -> None:
    for stream in ("narrated", "captioned"):
        write_stream(str(tmp_path / "store"), stream, 24)
    folder, released = tmp_path / "runs" / "search", tmp_path / "released"
    released.touch()
    address = ray.get_runtime_context().gcs_address
    driver = subprocess.Popen([sys.executable, "-m", "tests.tune.drivers", address, str(tmp_path)])
    book = TrialJournal(str(folder))
    wait_until(book.finished, limit_s=300)
    released.unlink()  # the second trial, whose workers start seconds later, stops before its last steps

    def second_at_4() -> bool:
        kept = latest_committed(str(folder / "frozen_below.text-1-seed-1"))
        return kept is not None and kept.step >= 4

    wait_until(second_at_4, limit_s=300)
    driver.kill()
    driver.wait()
    (first,) = book.finished()
    released.touch()

    found = search_in(tmp_path)
    assert found.trials[0] == first
    assert [(trial.seed, trial.step) for trial in found.trials] == [(0, STEPS), (1, STEPS)]
    client = MlflowClient(tracking_uri=new_run(tmp_path).uri)
    for trial, again in zip(found.trials, (0, STEPS - 4), strict=True):
        logged = [entry.step for entry in client.get_metric_history(trial.run_id, "step")]
        assert set(logged) == set(range(1, STEPS + 1))
        assert len(logged) <= STEPS + again  # no step before the checkpoint is made again
        assert len([step for step in logged if step <= 4]) == 4
