import csv
import io
import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest
import ray
import torch
from mlflow import MlflowClient
from ray.util import placement_group_table

from infra.errors import UserError
from infra.objects import exists, join, read_bytes, write_bytes
from infra.session import start
from infra.tracking import Run, tracking_for
from ingest.streams import clip_stream
from tests.ingest.clips import write_stream
from tests.trainers.tiny import MODEL, training
from trainers.checkpoint import load_model
from trainers.models.video_text import VideoTextModel
from tune.search import run_search
from tune.space import Grid, Search
from tune.trials import SearchResult, Setting


@dataclass(frozen=True)
class Score:
    """The share of text blocks that training has left as they were.

    `refused`: part of a checkpoint's name that fails until the file `repaired` is there; attempts are noted beside it.
    """

    repaired: Path
    refused: str = "nothing"

    def __call__(self, checkpoint: str) -> tuple[dict[str, float], dict[str, float]]:
        if self.refused in checkpoint and not self.repaired.exists():
            self.repaired.with_name(f"attempt-{time.monotonic_ns()}").touch()
            raise UserError("this trial cannot be scored")
        fresh, (trained, _) = VideoTextModel.fresh(MODEL, seed=0), load_model(checkpoint)
        pairs = zip(fresh.text.blocks, trained.text.blocks, strict=True)
        kept = [same(ours, theirs) for ours, theirs in pairs]
        return {"kept": sum(kept) / len(kept)}, {"kept": 1.0}


def same(ours: torch.nn.Module, theirs: torch.nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))


def searched(
    search: Search, score: object, store: str, storage: str, run: Run, steps: int = 2
) -> SearchResult:
    recipe = training(20, threads=1)
    return run_search(
        recipe,
        replace(search, steps=steps, metric="kept"),
        {name: partial(clip_stream, store, name) for name in ("narrated", "captioned")},
        score,  # type: ignore[arg-type]
        storage=storage,
        run_name="search",
        start=None,
        run=run,
        lineage={},
        session=start(),
    )


@pytest.mark.usefixtures("ray_local")
def test_a_search_keeps_the_finished_trials_names_the_failed_ones_and_finds_the_best_depth(
    tmp_path: Path,
) -> None:
    store, storage = str(tmp_path / "store"), str(tmp_path / "runs")
    for stream in ("narrated", "captioned"):
        write_stream(store, stream, 24)
    run = tracking_for(str(tmp_path)).start_run("search")
    finished = b'{"depth": 0, "seed": 0, "metrics": {"kept": 0.25}, "checkpoint": "earlier", "run_id": "r"}'
    write_bytes(join(storage, "search", "trials", "depth-0-seed-0.json"), finished)
    score = Score(tmp_path / "repaired", refused="depth-2")
    two_at_a_time = Search(depths=(0, 1, 2), max_concurrent=2)
    call = partial(searched, two_at_a_time, score, store, storage, run)

    found = call()
    assert found.start == {"kept": 1.0}
    assert found.winner == Setting(1)  # one of two blocks was kept, the finished trial says a quarter
    assert [(trial.depth, trial.metrics["kept"]) for trial in found.trials] == [(0, 0.25), (1, 0.5)]
    assert [(failed.depth, failed.reason) for failed in found.failed] == [(2, "this trial cannot be scored")]
    assert len(list(tmp_path.glob("attempt-*"))) == 2  # the failed trial was retried once
    assert not exists(join(storage, "search", "depth-0-seed-0"))
    rows = list(csv.DictReader(io.StringIO(read_bytes(join(storage, "search", "curve.csv")).decode())))
    assert [(row["depth"], row["state"]) for row in rows] == [
        ("", "start"),
        ("0", "finished"),
        ("1", "finished"),
        ("2", "failed: this trial cannot be scored"),
    ]
    assert run.history("by_depth/kept") == [(0, 0.25), (1, 0.5)]
    assert run.metrics()["device_s"] == pytest.approx(found.trials[1].device_s)
    kept = MlflowClient(tracking_uri=run.uri).list_artifacts(run.run_id)
    assert [file.path for file in kept] == ["curve.csv", "curve.png"]
    nested = run.start_child("depth-1-seed-0")
    assert nested.run_id == found.trials[1].run_id
    assert nested.metrics()["kept"] == 0.5
    assert nested.history("step") == [(1, 1.0), (2, 2.0)]

    score.repaired.touch()
    again = call()
    assert again.trials[:2] == found.trials
    assert (again.failed, again.winner) == ((), Setting(2))
    assert call() == again  # nothing is left to do


@pytest.mark.usefixtures("ray_local")
def test_a_weak_trial_is_stopped_at_a_rung_and_leaves_no_worker_behind(tmp_path: Path) -> None:
    for stream in ("narrated", "captioned"):
        write_stream(str(tmp_path / "store"), stream, 24)
    run = tracking_for(str(tmp_path)).start_run("search")
    search = Search(depths=(2, 0), scheduler="asha")
    found = searched(search, Score(tmp_path), str(tmp_path / "store"), str(tmp_path), run, steps=200)
    strong, weak = found.trials
    assert (strong.step, strong.stopped, strong.metrics["kept"]) == (200, False, 1.0)
    assert (weak.step, weak.stopped, weak.metrics["kept"]) == (50, True, 0.0)
    assert found.winner == Setting(2)
    until = time.monotonic() + 30
    while ray.available_resources()["CPU"] < ray.cluster_resources()["CPU"] and time.monotonic() < until:
        time.sleep(0.2)
    assert ray.available_resources()["CPU"] == ray.cluster_resources()["CPU"], placement_group_table()


@pytest.mark.usefixtures("ray_local")
def test_optuna_goes_on_from_what_was_found(tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    for stream in ("narrated", "captioned"):
        write_stream(str(tmp_path / "store"), stream, 24)
    run = tracking_for(str(tmp_path)).start_run("search")
    space = {"stages.0.optimizer.lr_rest": Grid((1e-3, 1e-2))}
    search = Search(depths=(0, 2), space=space, sampler="optuna", samples=1)
    call = partial(
        searched, score=Score(tmp_path), store=str(tmp_path / "store"), storage=str(tmp_path), run=run
    )
    first = call(search)
    assert [trial.depth in (0, 2) for trial in first.trials] == [True]
    second = call(replace(search, samples=2))
    assert len(second.trials) in (1, 2)  # a setting that was found before is not trained again
    assert set(map(str, first.trials)) <= set(map(str, second.trials))
