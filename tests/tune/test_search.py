from functools import partial
from pathlib import Path

import pytest
import torch

from infra.objects import exists, join, write_bytes
from infra.session import start
from infra.tracking import tracking_for
from ingest.streams import clip_stream
from tests.conftest import S3Server
from tests.ingest.clips import write_stream
from tests.trainers.tiny import MODEL, training
from trainers.checkpoint import load_model
from trainers.models.video_text import VideoTextModel
from tune.search import SearchResult, search_depth
from tune.space import Search


def score(checkpoint: str) -> dict[str, float]:
    """The share of text blocks that training has left as they were."""
    fresh = VideoTextModel.fresh(MODEL, seed=0)
    trained, _ = load_model(checkpoint)
    kept = [same(ours, theirs) for ours, theirs in zip(fresh.text.blocks, trained.text.blocks, strict=True)]
    return {"kept": sum(kept) / len(kept)}


def same(ours: torch.nn.Module, theirs: torch.nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))


@pytest.mark.usefixtures("ray_local")
def test_a_search_on_s3_trains_the_open_trials_keeps_the_finished_ones_and_finds_the_best_depth(
    tmp_path: Path, s3_server: S3Server
) -> None:
    store, storage = s3_server.uri("tune", "store"), s3_server.uri("tune", "runs")
    for stream in ("narrated", "captioned"):
        write_stream(store, stream, 24)
    session = start()
    tracking = tracking_for(str(tmp_path))
    run = tracking.start_run("search")
    finished = b'{"depth": 0, "seed": 0, "metrics": {"kept": 0.25}, "checkpoint": "earlier", "run_id": "r"}'
    write_bytes(join(storage, "search", "trials", "depth-0-seed-0.json"), finished)

    def call() -> SearchResult:
        return search_depth(
            training(20, threads=1),
            Search(depths=(0, 1), steps=2, metric="kept"),
            {name: partial(clip_stream, store, name) for name in ("narrated", "captioned")},
            score,
            storage=storage,
            run_name="search",
            start=None,
            run=run,
            lineage={},
            session=session,
        )

    found = call()
    assert found.winner == 1  # one of two blocks was kept, the finished trial says a quarter
    assert [(trial.depth, trial.metrics["kept"]) for trial in found.trials] == [(0, 0.25), (1, 0.5)]
    assert not exists(join(storage, "search", "depth-0-seed-0"))
    assert run.history("by_depth/kept") == [(0, 0.25), (1, 0.5)]
    nested = run.start_child("depth-1-seed-0")
    assert nested.run_id == found.trials[1].run_id
    assert nested.metrics()["kept"] == 0.5
    assert nested.history("step") == [(1, 1.0), (2, 2.0)]
    assert call() == found  # nothing is left to do
