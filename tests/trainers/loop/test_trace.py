from collections.abc import Mapping
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
import torch

from ingest.records import stable_uid
from tests.ingest.clips import write_stream
from tests.trainers.tiny import plain_batches, tiny_batch, training
from trainers.checkpoints import checkpoint
from trainers.loop.trace import Trace, readable, steps_using
from trainers.loop.train import build_learner, scheduled, train
from trainers.recipe import Training

STEPS = 6


def run(store: str, recipe: Training, resume: str | None, folder: Path, stop_after: int = STEPS) -> None:
    """Train with checkpoints every two steps; `stop_after`: the run is killed behind the batch of that step."""
    learner = build_learner(recipe, 0, torch.device("cpu"), None, resume)

    def save(step: int, values: Mapping[str, float]) -> None:
        place = folder / f"checkpoint_{step}"
        place.mkdir(parents=True, exist_ok=True)
        checkpoint.save(place, learner.task.model, learner.state(), recipe, {})

    def killed(step: int, values: Mapping[str, float]) -> None:
        if step == stop_after < STEPS:
            raise KeyboardInterrupt

    readers = [plain_batches(store, recipe, index, learner.step) for index in (0, 1)]
    train(learner, scheduled(recipe.stages[0], recipe.seed, learner.step, readers), killed, save, str(folder))


def test_the_trace_names_exactly_the_rows_that_went_into_the_weights_also_after_a_kill(
    tmp_path: Path,
) -> None:
    store, folder = str(tmp_path / "store"), tmp_path / "run"
    for stream in ("narrated", "captioned"):
        write_stream(store, stream, 24)
    recipe = training(STEPS, checkpoint_every=2, trace_batches=True)
    with pytest.raises(KeyboardInterrupt):
        run(store, recipe, None, folder, stop_after=5)
    run(
        store, recipe, str(folder / "checkpoint_2"), folder
    )  # the checkpoint of step 4 is not the one restored

    batches = scheduled(
        recipe.stages[0], recipe.seed, 0, [plain_batches(store, recipe, index) for index in (0, 1)]
    )
    seen = [
        (step, stream.name, uid)
        for step, (stream, batch) in zip(count(1), batches, strict=False)
        for uid, _ in readable(batch.clips.uids)
    ]
    known = {stable_uid("synthetic", number) for number in range(24)}
    assert steps_using(str(folder), known) == sorted(seen)
    assert len(seen) == STEPS * 4
    one = seen[0][2]
    assert steps_using(str(folder), [one]) == [use for use in sorted(seen) if use[2] == one]
    assert steps_using(str(folder), ["00" * 10]) == []


def test_a_video_is_found_by_the_uid_of_any_of_its_clips_and_by_its_own(tmp_path: Path) -> None:
    film, first, second, other = (stable_uid(name) for name in ("film", "first", "second", "other"))
    rows = [bytes.fromhex(clip + media) for clip, media in ((first, film), (second, film), (other, other))]
    uids = torch.tensor([list(row) for row in rows], dtype=torch.uint8).unflatten(1, (2, 10))
    trace = Trace(str(tmp_path), steps_done=0)
    batch = tiny_batch(2)
    for step, own in enumerate((uids[:2], uids[1:]), start=1):
        trace.add(step, "narrated", replace(batch, clips=replace(batch.clips, uids=own)))
    trace.write(2)
    assert steps_using(str(tmp_path), [second]) == [(1, "narrated", second), (2, "narrated", second)]
    assert {(step, uid) for step, _, uid in steps_using(str(tmp_path), [film])} == {
        (1, first),
        (1, second),
        (2, second),
    }
