"""Raw files in a bucket to a report in a bucket: every step real, small, and not done twice."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from mlflow import MlflowClient

from infra.objects import join, list_files, read_bytes
from infra.tracking import tracking_for
from pipeline import verbs
from pipeline.demo.corpus import CorpusSize, make_corpus
from pipeline.demo.speech_model import write_checkpoint
from pipeline.recipe import Recipe, Validating
from pipeline.recipes.tvtsv2 import tvtsv2_tiny
from tests.conftest import S3Server
from tests.tracker import lay_database
from trainers.checkpoints.checkpoint import load_lineage
from tune.space import Grid

BROKEN = {"probe/empty", "probe/truncated", "probe/wrong_length", "probe/no_video", "probe/not_media"}


@pytest.fixture(scope="module")
def recipe(s3_server: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    """The tiny recipe on a handful of files in a bucket, a few steps long."""
    folder = tmp_path_factory.mktemp("corpus")
    make_corpus(folder / "raw", CorpusSize.tiny())
    write_checkpoint(folder / "speech_model.pt")
    s3_server.upload(folder / "raw", "demo", "raw")
    return shortened(tvtsv2_tiny(), s3_server.uri("demo"), folder / "speech_model.pt")


def shortened(
    recipe: Recipe, where: str, speech_model: Path, data_root: str | None = None, steps: int = 2
) -> Recipe:
    """The recipe with batches of 4 and few steps a stage, everything below `where`."""
    stages = tuple(
        replace(
            stage,
            steps=steps,
            streams=tuple(replace(stream, batch_size=4, rows_per_unit=2) for stream in stage.streams),
        )
        for stage in recipe.training.stages
    )
    speech = replace(recipe.ingest.speech, model=str(speech_model))
    launch = replace(recipe.training.launch, checkpoint_every=max(1, steps // 4), log_every=1)
    return replace(
        recipe,
        data=replace(recipe.data, root=data_root or join(where, "raw")),
        training=replace(recipe.training, stages=stages, launch=launch),
        ingest=replace(recipe.ingest, speech=speech),
        search=replace(recipe.search, space={"stages.1.frozen_below.text": Grid((2,))}, steps=steps // 2),
        validation=Validating("val", "B/t2v_R1", num_cpus=0.5),
        store=join(where, "clips"),
        output=join(where, "run"),
    )


def test_a_run_from_bucket_to_bucket_ends_with_a_page_and_does_nothing_twice(
    recipe: Recipe,
    ray_local: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)  # where MLflow keeps the artifacts of such a tracker
    lay_database(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    verbs.run_all(recipe, "reelscript run tvtsv2-tiny")

    reasons = [reason for line in ledger_lines(recipe) for reason in line["rejects"]]
    assert sorted(reasons) == sorted(BROKEN)
    page = read_bytes(join(recipe.output, "report.html")).decode()
    assert "tvtsv2-tiny" in page
    assert "http-equiv" not in page
    names = [uri.rsplit("/", 1)[1] for uri in list_files(join(recipe.output, "steps"))]
    assert {"ingest.json", "search.json", "evaluate.json", "stage-stills.json", "stage-tvtsv2.json"} <= set(
        names
    )
    check_tracked_runs(recipe)
    check_lineage(recipe)
    shards = stored(recipe)
    first = {uri: read_bytes(uri) for uri in list_files(join(recipe.output, "steps"))}

    capsys.readouterr()
    verbs.run_all(recipe, "reelscript run tvtsv2-tiny")
    told = capsys.readouterr().out
    assert "Nothing to do" in told
    assert told.count("finished earlier") == 4
    assert "best checkpoint of those kept: step " in told
    assert stored(recipe) == shards
    assert {uri: read_bytes(uri) for uri in list_files(join(recipe.output, "steps"))} == first

    verbs.run_evaluate(recipe, "reelscript evaluate tvtsv2-tiny", None)
    assert "finished earlier" in capsys.readouterr().out


def check_tracked_runs(recipe: Recipe) -> None:
    """One run for the whole, its stages and the search below it, the trials below the search; losses by step."""
    client = MlflowClient(tracking_uri=tracking_for(recipe.output).uri)
    runs = {run.info.run_id: run for run in client.search_runs(["1"])}
    below = {run.info.run_name: run.data.tags.get("mlflow.parentRunId") for run in runs.values()}
    parents = {name: runs[parent].info.run_name if parent else None for name, parent in below.items()}
    (whole,) = [name for name, parent in parents.items() if parent is None]
    (search,) = [name for name in parents if name.startswith("search ")]
    assert parents["frozen_below.text-2-seed-0"] == search
    assert parents[search] == whole
    (stage,) = [run for run in runs.values() if run.info.run_name.startswith("tvtsv2 ")]
    assert client.get_metric_history(stage.info.run_id, "narrated/sorting")
    assert len(client.get_metric_history(stage.info.run_id, "validation/B/t2v_R1")) == 2
    (top,) = [run for run in runs.values() if run.info.run_name == whole]
    assert [file.path for file in client.list_artifacts(top.info.run_id)] == ["report.html"]


def check_lineage(recipe: Recipe) -> None:
    """Checkpoints of trials and of the last stage name what was really trained, not the recipe before the search."""
    steps = join(recipe.output, "steps", "seed-0")
    search, last = (
        json.loads(read_bytes(join(steps, f"{name}.json"))) for name in ("search", "stage-tvtsv2")
    )
    (field,) = recipe.search.space
    assert recipe.training.stages[1].frozen_below["text"] == 4  # no trial's
    for trial in search["result"]["trials"]:
        trained = json.loads(load_lineage(trial["checkpoint"])["recipe"])["training"]["stages"][1]
        wanted = trial["setting"]["values"][field]
        assert (trained["frozen_below"]["text"], trained["steps"]) == (wanted, recipe.search.steps)
    trained = json.loads(load_lineage(last["result"]["checkpoint"])["recipe"])["training"]["stages"][1]
    assert trained["frozen_below"]["text"] == search["result"]["winner"]["values"][field]
    assert trained["steps"] == recipe.training.stages[1].steps


def stored(recipe: Recipe) -> list[str]:
    return [uri for uri in list_files(recipe.store) if uri.endswith(".parquet")]


def ledger_lines(recipe: Recipe) -> list[dict[str, object]]:
    uris = [uri for uri in list_files(recipe.store) if "/ledger/" in uri]
    return [json.loads(read_bytes(uri)) for uri in uris]
