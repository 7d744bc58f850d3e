import os
import threading
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from ray.exceptions import RayActorError
from ray.train.v2._internal.exceptions import WorkerHealthCheckFailedError
from ray.train.v2.api.exceptions import WorkerGroupError
from safetensors.torch import load_file
from torch import Tensor

from infra.errors import UserError
from ingest.order.row_groups import Order, row_groups
from ingest.order.windows import read_window
from ingest.stores.ledger import Ledger
from ingest.stores.shards import parts_of
from tests.faults.processes import kill
from tests.trainers.drivers import Place, recipe_of, training_workers, wait_until
from tests.trainers.tiny import plain_batches, training
from trainers.checkpoints.run_folder import checkpoint_name, latest_committed
from trainers.cluster.controller import NoRetryOfPermanent, largest
from trainers.cluster.job import worker_counts
from trainers.cluster.launch import Trained
from trainers.data.feed import steps_of
from trainers.launch_settings import Launch
from trainers.loop.trace import steps_using
from trainers.loop.train import build_learner, scheduled, train
from trainers.recipe import Training

STEPS = 18
HELD_FROM = 20  # first row of the sixth narrated batch: step 8 gets its batch, step 11 does not


def undisturbed(place: Place, recipe: Training) -> tuple[dict[str, Tensor], dict[int, float]]:
    """Weights and losses of the same training in this process alone."""
    torch.set_num_threads(1)
    learner = build_learner(recipe, 0, torch.device("cpu"), None, None)
    losses: dict[int, float] = {}
    sources = [plain_batches(place.store, recipe, index) for index in (0, 1)]
    train(
        learner,
        scheduled(recipe.stages[0], recipe.seed, 0, sources),
        lambda step, values: losses.update({step: values.get("narrated/contrastive", 0)}),
        lambda step, values: None,
        str(place.folder / "undisturbed"),
    )
    return learner.task.model.state_dict(), losses


def committed_step(place: Place) -> int:
    kept = latest_committed(place.run_folder)
    return kept.step if kept else 0


def weights_of(trained: Trained) -> dict[str, Tensor]:
    return load_file(Path(trained.checkpoint) / "model.safetensors")


@pytest.mark.usefixtures("ray_local")
def test_a_worker_killed_while_it_writes_goes_on_from_the_checkpoint_before_to_the_weights_of_an_undisturbed_run(
    tmp_path: Path,
) -> None:
    place, recipe = Place(tmp_path, HELD_FROM), recipe_of(STEPS)
    place.write()
    run = place.new_run()
    written_when_killed: list[int] = []

    def disturb() -> None:
        wait_until(lambda: committed_step(place) == 8)
        stuck = Path(place.run_folder) / checkpoint_name(12) / "recipe.json"
        stuck.parent.mkdir()
        os.mkfifo(stuck)  # whoever writes it waits for a reader
        place.release()
        wait_until(
            lambda: run.metrics().get("step", 0) >= 15
        )  # the training does not wait for that checkpoint
        written_when_killed.append(committed_step(place))
        kill(training_workers(os.getpid()))

    disturber = threading.Thread(target=disturb, daemon=True)
    disturber.start()
    trained = place.train(recipe, run)
    disturber.join()
    weights, losses = undisturbed(place, recipe)
    ours = weights_of(trained)
    assert written_when_killed == [8]
    assert trained.step == STEPS
    assert all(torch.equal(value, ours[name]) for name, value in weights.items())
    assert dict(run.history("narrated/contrastive")) == {step: losses[step] for step in range(1, STEPS, 2)}
    assert place.train(recipe, run) == trained  # a finished run returns at once


@pytest.mark.usefixtures("ray_local")
def test_a_killed_driver_started_again_with_more_workers_that_share_the_model_shows_every_clip_once_an_epoch(
    tmp_path: Path,
) -> None:
    place, elastic = Place(tmp_path, HELD_FROM), recipe_of(STEPS, "1:3")
    elastic = replace(elastic, launch=replace(elastic.launch, parallel="fsdp"))
    place.write()
    with place.train_elsewhere(STEPS) as driver:
        try:
            wait_until(lambda: committed_step(place) or driver.poll() is not None)
            assert driver.poll() is None
        finally:
            driver.kill()
    wait_until(lambda: not training_workers(os.getpid()))
    place.release()
    run = place.new_run()
    trained = place.train(elastic, run)
    _, losses = undisturbed(place, elastic)
    ours = dict(run.history("narrated/contrastive"))
    assert ours == pytest.approx({step: losses[step] for step in ours}, abs=1e-4)
    assert max(ours) == STEPS - 1
    used = Counter((stream, uid) for _, stream, uid in uses(place))
    assert used == planned(place, elastic)
    ranks = {file.name.rpartition(".rank-")[2] for file in (Path(place.run_folder) / "trace").iterdir()}
    assert ranks == {"0.parquet", "1.parquet"}  # two workers: three cannot share two units
    assert (Path(trained.checkpoint) / "model-00002-of-00002.safetensors").exists()


def uses(place: Place) -> list[tuple[int, str, str]]:
    every = {uid for stream in ("narrated", "captioned") for uid in uids_in_order(place, stream, 0, 24)}
    return steps_using(place.run_folder, every)


def planned(place: Place, recipe: Training) -> Counter[tuple[str, str]]:
    """How often an undisturbed run shows every clip."""
    found: Counter[tuple[str, str]] = Counter()
    for index, stream in enumerate(recipe.stages[0].streams):
        steps = steps_of(recipe.stages[0], recipe.seed, index, 0, recipe.stages[0].steps)
        found.update(
            (stream.name, uid)
            for uid in uids_in_order(place, stream.name, recipe.seed, steps * stream.batch_size)
        )
    return found


def uids_in_order(place: Place, stream: str, seed: int, rows: int) -> list[str]:
    order = Order(row_groups(parts_of(Ledger(place.store, stream).committed().values())), seed)
    tables = [read_window(place.store, stream, window) for window in order.windows(0, rows)]
    return [uid for table in tables for uid in table["uid"].to_pylist()]


@pytest.mark.usefixtures("ray_local")
def test_what_a_user_must_mend_ends_the_run_without_a_second_try(tmp_path: Path) -> None:
    place = Place(tmp_path, 1_000)
    place.write()
    recipe = replace(recipe_of(STEPS), init=str(tmp_path / "nowhere.pt"))
    (tmp_path / "nowhere.pt").write_bytes(b"not weights")
    tried, ended = set[int](), threading.Event()

    def watch() -> None:
        while not ended.wait(0.1):
            tried.update(training_workers(os.getpid()))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    with pytest.raises(UserError, match=r"nowhere\.pt is not a torch file"):
        place.train(recipe, place.new_run())
    ended.set()
    watcher.join()
    assert len(tried) == 1


def test_a_worker_that_died_is_tried_again_whatever_the_others_say() -> None:
    wrong, lost = ValueError("wrong recipe"), RuntimeError("Connection closed by peer")
    died = WorkerHealthCheckFailedError(
        "a worker died", RayActorError()
    )  # in these forms Train hands them on
    policy = NoRetryOfPermanent(max_failures=2)
    errors: list[dict[int, Exception]] = [{0: lost}, {0: died, 1: wrong}, {0: wrong, 1: lost}]
    decisions = [policy.make_decision(WorkerGroupError("", failures)) for failures in errors]
    assert [decision.name for decision in decisions] == ["RETRY", "RETRY", "RAISE"]


def test_workers_must_divide_the_units_of_a_batch() -> None:
    stage = training(1).stages[0]
    assert worker_counts(stage, Launch(workers=2)) == (2,)
    assert worker_counts(stage, Launch(workers="1:4")) == (1, 2)
    with pytest.raises(ValueError, match=r"launch\.workers: 3 workers cannot share the 2 units"):
        worker_counts(stage, Launch(workers=3))
    odd = replace(stage, streams=(replace(stage.streams[0], batch_size=5),))
    with pytest.raises(ValueError, match="batch_size 5 is no multiple of rows_per_unit 2"):
        worker_counts(odd, Launch())


def test_an_elastic_run_takes_the_largest_allowed_number_for_which_there_is_room() -> None:
    assert [largest((4, 6, 12), room) for room in (3, 4, 11, 40)] == [0, 4, 6, 12]
    for words in ("many", "4:", "16:4", 0, "0:2"):
        with pytest.raises(
            ValueError, match=r"launch\.workers: .* is neither a number nor a range such as 4:16"
        ):
            Launch(workers=words)
