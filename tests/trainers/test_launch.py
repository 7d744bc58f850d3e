import os
import signal
import threading
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from infra.session import plan_cpus, start
from infra.tracking import tracking_for
from ingest.streams import clip_stream
from tests.ingest.clips import write_stream
from tests.trainers.held import Held, held_stream
from tests.trainers.tiny import plain_batches, training
from trainers.launch import Trained, check_split, train_stage
from trainers.loop import build_learner, scheduled, train
from trainers.runs import latest_committed

STEPS, CHECKPOINT_EVERY = 14, 4
HELD_FROM = 20  # rows of the narrated stream from its 6th batch on: step 4 gets its batch, step 11 does not


def kill_worker_after_checkpoint(folder: str, then: Path) -> None:
    while latest_committed(folder) is None:
        time.sleep(0.1)
    os.kill(train_worker_of(os.getpid()), signal.SIGKILL)
    then.touch()


def train_worker_of(driver: int) -> int:
    """The training worker among the processes of the Ray that `driver` started (others may run beside it)."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if not (folder / "cmdline").read_text().startswith("ray::RayTrainWorker"):
                continue
            if parent(parent(int(folder.name))) == driver:
                return int(folder.name)
        except FileNotFoundError:  # ended meanwhile
            continue
    raise AssertionError("no training worker runs")


def parent(process: int) -> int:
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])


@pytest.mark.usefixtures("ray_local")
def test_a_killed_worker_goes_on_from_its_checkpoint_and_ends_with_the_weights_of_an_undisturbed_run(
    tmp_path: Path,
) -> None:
    store, storage = str(tmp_path / "store"), str(tmp_path / "runs")
    for stream in ("narrated", "captioned"):
        write_stream(store, stream, 24)
    recipe = training(STEPS, checkpoint_every=CHECKPOINT_EVERY, threads=1)
    hold = Held(tmp_path / "killed", HELD_FROM)
    streams = {
        "narrated": partial(held_stream, store, "narrated", hold),
        "captioned": partial(clip_stream, store, "captioned"),
    }
    run = tracking_for(str(tmp_path)).start_run("test", params={"seed": 0})
    killer = threading.Thread(target=kill_worker_after_checkpoint, args=(f"{storage}/run", hold.file))
    session = start()

    def call() -> Trained:
        return train_stage(
            recipe,
            0,
            streams,
            storage=storage,
            run_name="run",
            start=None,
            run=run,
            lineage={"commit": "none"},
            resources=plan_cpus(session.num_cpus, 1, 2),
            session=session,
        )

    killer.start()
    trained = call()
    killer.join()

    torch.set_num_threads(1)
    learner = build_learner(recipe, 0, torch.device("cpu"), None, None)
    losses: dict[int, float] = {}
    batches = scheduled(recipe.stages[0], 0, [plain_batches(store, recipe, index) for index in (0, 1)])
    train(
        learner,
        batches,
        lambda step, values: losses.update({step: values.get("narrated/contrastive", 0)}),
        ignore,
    )
    ours = load_file(Path(trained.checkpoint) / "model.safetensors")
    assert trained.step == STEPS
    assert all(torch.equal(value, ours[name]) for name, value in learner.task.model.state_dict().items())
    assert dict(run.history("narrated/contrastive")) == {step: losses[step] for step in range(1, STEPS, 2)}
    assert call() == trained  # a finished run returns at once


def ignore(step: int, values: object) -> None:
    """Saves nothing."""


def test_workers_must_divide_the_units_of_a_batch() -> None:
    stage = training(1).stages[0]
    check_split(stage, 2)
    with pytest.raises(ValueError, match=r"launch\.workers: 3 workers cannot share the 2 units"):
        check_split(stage, 3)
    odd = replace(stage, streams=(replace(stage.streams[0], batch_size=5),))
    with pytest.raises(ValueError, match="batch_size 5 is no multiple of rows_per_unit 2"):
        check_split(odd, 1)
