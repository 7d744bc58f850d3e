import csv
import io
import json
import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest
import torch
from mlflow import MlflowClient

from infra.errors import UserError
from infra.objects import exists, join, read_bytes, write_bytes
from infra.session import start
from infra.tracking import TrackedRun, tracking_for
from ingest.cluster.stored import StoredStream
from tests.ingest.clips import write_stream
from tests.tracker import lay_database
from tests.trainers.tiny import SYSTEM, training
from trainers.checkpoints.checkpoint import load_lineage, load_model
from trainers.evaluation.protocol import Declared
from trainers.recipe import Training
from tune.cluster.job import SearchJob
from tune.cluster.search import run_search
from tune.results import SearchResult, Trial
from tune.settings import Setting
from tune.space import Grid, Search
from tune.trial_journal import TrialJournal

FROZEN = "stages.0.frozen_below.text"
DECLARED = {
    "kept": Declared("kept", "blocks kept", "Blocks", unit="", leading=True),
    "moved": Declared("moved", "blocks moved", "Blocks", unit="", more_is_better=False),
}


@dataclass(frozen=True)
class Score:
    """The share of text blocks that training has left as they were, and of the others.

    `refused`: part of a checkpoint's name that fails until the file `repaired` is there; attempts are noted beside it.
    """

    repaired: Path
    refused: str = "nothing"

    def __call__(self, checkpoint: str) -> tuple[dict[str, float], dict[str, float]]:
        if self.refused in checkpoint and not self.repaired.exists():
            self.repaired.with_name(f"attempt-{time.monotonic_ns()}").touch()
            raise UserError("this trial cannot be scored")
        fresh, (trained, _) = SYSTEM.built().fresh(SYSTEM, seed=0), load_model(checkpoint)
        pairs = zip(fresh.text.blocks, trained.text.blocks, strict=True)  # type: ignore[union-attr]
        kept = [same(ours, theirs) for ours, theirs in pairs]
        share = sum(kept) / len(kept)
        return {"kept": share, "moved": 1 - share}, {"kept": 1.0, "moved": 0.0}


def same(ours: torch.nn.Module, theirs: torch.nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))


def frozen(count: int) -> Setting:
    return Setting({FROZEN: count})


def what_is_trained(recipe: Training) -> dict[str, str]:
    """A lineage that names just that."""
    stage = recipe.stages[0]
    return {"recipe": json.dumps([stage.frozen_below["text"], recipe.seed, stage.steps])}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """24 clips of both streams."""
    folder = str(tmp_path_factory.mktemp("store"))
    for stream in ("narrated", "captioned"):
        write_stream(folder, stream, 24)
    return folder


def new_run(folder: Path) -> TrackedRun:
    lay_database(folder)
    return tracking_for(str(folder)).start_run("search")


def searched(
    search: Search,
    score: object,
    store: str,
    storage: str,
    run: TrackedRun,
    steps: int = 2,
    recipe: Training | None = None,
) -> SearchResult:
    job = SearchJob(
        recipe or training(20, threads=1),
        replace(search, steps=steps),
        {name: StoredStream(store, name) for name in ("narrated", "captioned")},
        score,  # type: ignore[arg-type]
        DECLARED,
        join(storage, "search"),
        run,
        what_is_trained,
    )
    return run_search(job, start())


@pytest.mark.usefixtures("ray_local")
def test_a_search_keeps_the_finished_trials_names_the_failed_ones_and_finds_the_best_setting(
    store: str, tmp_path: Path
) -> None:
    storage = str(tmp_path / "runs")
    run = new_run(tmp_path)
    finished = {"setting": {"values": {FROZEN: 0}, "variant": ""}, "seed": 0, "metrics": {"kept": 0.25}}
    earlier = json.dumps({**finished, "checkpoint": "earlier", "run_id": "r"}).encode()
    write_bytes(join(storage, "search", "trials", "frozen_below.text-0-seed-0.json"), earlier)
    score = Score(tmp_path / "repaired", refused="text-2")
    two_at_a_time = Search(space={FROZEN: Grid((0, 1, 2))}, metric="kept", max_concurrent=2)
    call = partial(searched, two_at_a_time, score, store, storage, run)

    found = call()
    assert found.start["kept"] == 1.0
    assert found.winner == frozen(1)  # one of two blocks was kept, the finished trial says a quarter
    assert [(trial.setting, trial.metrics["kept"]) for trial in found.trials] == [
        (frozen(0), 0.25),
        (frozen(1), 0.5),
    ]
    assert [(failed.setting, failed.reason) for failed in found.failed] == [
        (frozen(2), "this trial cannot be scored")
    ]
    assert len(list(tmp_path.glob("attempt-*"))) == 2  # the failed trial was retried once
    assert not exists(join(storage, "search", "frozen_below.text-0-seed-0"))
    rows = list(csv.DictReader(io.StringIO(read_bytes(join(storage, "search", "curve.csv")).decode())))
    assert [(row[FROZEN], row["state"]) for row in rows] == [
        ("", "start"),
        ("0", "finished"),
        ("1", "finished"),
        ("2", "failed: this trial cannot be scored"),
    ]
    assert load_lineage(found.trials[1].checkpoint)["recipe"] == "[1, 0, 2]"  # not that of the recipe before
    assert run.history("curve/kept") == [(0, 0.25), (1, 0.5)]
    assert run.metrics()["device_s"] == pytest.approx(found.trials[1].device_s)
    kept = MlflowClient(tracking_uri=run.uri).list_artifacts(run.run_id)
    assert [file.path for file in kept] == ["curve.csv", "curve.png"]
    nested = run.start_child("frozen_below.text-1-seed-0")
    assert nested.run_id == found.trials[1].run_id
    assert nested.metrics()["kept"] == 0.5
    assert nested.history("step") == [(1, 1.0), (2, 2.0)]

    score.repaired.touch()
    again = call()
    assert again.trials[:2] == found.trials
    assert (again.failed, again.winner) == ((), frozen(2))
    assert call() == again  # nothing is left to do
    with pytest.raises(ValueError, match="nothing declares 'kep'; did you mean 'kept'"):
        searched(replace(two_at_a_time, metric="kep"), score, store, storage, run)


@pytest.mark.usefixtures("ray_local")
def test_a_weak_trial_is_stopped_at_its_rung_beside_a_strong_one_that_is_kept(
    store: str, tmp_path: Path
) -> None:
    run = new_run(tmp_path)
    search = Search(space={FROZEN: Grid((2, 0))}, metric="moved", scheduler="asha")  # the less the better
    strong = Trial(frozen(2), 0, {"kept": 1.0, "moved": 0.0}, "earlier", "r", 8)
    journal = TrialJournal(str(tmp_path / "search"))
    journal.scores_at(2, strong.setting, 0, lambda: strong.metrics)  # as test_trial.py shows a trial to do
    journal.finish(strong)
    found = searched(search, Score(tmp_path), store, str(tmp_path), run, steps=8)
    assert found.trials[0] == strong
    weak = found.trials[1]
    assert (weak.step, weak.stopped, weak.metrics["moved"]) == (2, True, 1.0)
    assert found.winner == frozen(2)


@pytest.mark.usefixtures("ray_local")
def test_optuna_goes_on_from_what_was_found(store: str, tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    run = new_run(tmp_path)
    rate = "stages.0.optimizer.rates.rest.lr"
    search = Search(space={FROZEN: Grid((0, 2)), rate: Grid((1e-3, 1e-2))}, metric="kept", sampler="optuna")
    earlier = Trial(Setting({FROZEN: 2, rate: 1e-2}), 0, {"kept": 1.0, "moved": 0.0}, "earlier", "r")
    TrialJournal(str(tmp_path / "search")).finish(earlier)
    found = searched(replace(search, samples=2), Score(tmp_path), store, str(tmp_path), run)
    assert earlier in found.trials
    new = [trial for trial in found.trials if trial != earlier]
    assert len(new) <= 1  # a setting that was found before is not trained again
    assert all(trial.metrics["kept"] == (trial.setting.values[FROZEN] == 2) for trial in new)
    assert found.winner.values[FROZEN] == 2
