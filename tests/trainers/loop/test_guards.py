import copy
import json
from collections.abc import Mapping
from dataclasses import replace
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from infra.errors import UserError
from tests.trainers.ranks import in_two_ranks
from tests.trainers.spoiled import Spoiled
from tests.trainers.tiny import NARRATED, plain_batches, training
from trainers.data.batch import Batch, Clips
from trainers.loop.guards import memory_named
from trainers.loop.trace import readable
from trainers.loop.train import Learner, build_learner, scheduled, train
from trainers.recipe import Training

CPU = torch.device("cpu")


def uids_of(batch: Batch) -> list[str]:
    return [uid for uid, _ in readable(batch.clips.uids)]


def ignore(step: int, values: Mapping[str, float]) -> None:
    """Logs or saves nothing."""


def narrated(steps: int, form: str = "published", **launch: Any) -> Training:
    """Narrated batches alone."""
    recipe = training(steps, **launch)
    optimizer = replace(recipe.stages[0].optimizer, form=form, max_grad_norm=1.0)
    return replace(recipe, stages=(replace(recipe.stages[0], streams=(NARRATED,), optimizer=optimizer),))


def all_of(learner: Learner) -> list[torch.Tensor]:
    """Weights and the optimiser's moments and counts."""
    moments = [value for state in learner.optimizer.state.values() for value in state.values()]
    return copy.deepcopy([*learner.task.state_dict().values(), *moments])


@pytest.mark.parametrize("form", ["published", "torch"])
def test_a_step_without_a_finite_loss_changes_nothing_and_is_counted(
    store: str, tmp_path: Path, form: str
) -> None:
    recipe = narrated(3, form)
    learner = build_learner(recipe, 0, CPU, None, None)
    learner.forward = Spoiled(learner.task, {"narrated": {4}})  # the second batch
    states: list[list[torch.Tensor]] = []
    skipped: list[float] = []
    taken: list[float] = []
    learner.task.after_step = lambda each: taken.append(each.item())

    def log(step: int, values: Mapping[str, float]) -> None:
        states.append(all_of(learner))
        skipped.append(values["skipped_steps"])
        assert ("narrated/contrastive" in values) == (step != 2)

    batches = scheduled(recipe.stages[0], recipe.seed, 0, [plain_batches(store, recipe, 0)])
    train(learner, batches, log, ignore, str(tmp_path))
    first, second, third = states
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(second[-3:], third[-3:], strict=True))
    assert all(value.isfinite().all() for value in third)
    assert skipped == [0, 1, 1]
    assert taken == [1, 0, 1]  # what objectives are told
    assert learner.state().skipped == 1


@pytest.mark.parametrize("log_every", [1, 6])
def test_a_stream_that_only_gives_nan_stops_the_run_and_its_clips_are_named(
    store: str, tmp_path: Path, log_every: int
) -> None:
    recipe = training(6, max_skipped=2)  # narrated and captioned take turns
    recipe = replace(recipe, launch=replace(recipe.launch, log_every=log_every))
    learner = build_learner(recipe, 0, CPU, None, None)
    learner.forward = Spoiled(learner.task, {"narrated": {0, 4, 8}})
    readers = [plain_batches(store, recipe, index) for index in (0, 1)]
    with pytest.raises(UserError, match=r"2 steps in a row, 1 to 3, .*steps-00000001-00000003\.json names"):
        train(learner, scheduled(recipe.stages[0], recipe.seed, 0, readers), ignore, ignore, str(tmp_path))
    written = json.loads((tmp_path / "skipped/steps-00000001-00000003.json").read_text())
    seen = [uids_of(batch) for batch in islice(plain_batches(store, recipe, 0), 2)]
    assert [(step["step"], step["stream"], step["sorting"]) for step in written] == [
        (1, "narrated", "nan"),
        (3, "narrated", "nan"),
    ]
    assert [step["uids"] for step in written] == seen


def test_a_loss_that_is_not_finite_on_one_rank_makes_both_skip_and_stop_together(
    store: str, tmp_path: Path
) -> None:
    own, other = in_two_ranks(spoiled_on_the_second, store, str(tmp_path))
    assert own == other
    batches = list(islice(plain_batches(store, narrated(4), 0), 3))
    for parallel, (changed, error) in own.items():
        assert changed == [True, False, False]
        (file,) = (tmp_path / parallel / "skipped").iterdir()
        assert file.name in error
        assert [step["uids"] for step in json.loads(file.read_text())] == [
            uids_of(batch) * 2 for batch in batches[1:]
        ]


def spoiled_on_the_second(rank: int, store: str, folder: str) -> dict[str, tuple[list[bool], str]]:
    """Three steps of which rank 1 alone spoils the last two; which of them changed the weights, and the error."""
    return {
        parallel: _spoiled(
            narrated(4, "torch", parallel=parallel, max_skipped=2), rank, store, f"{folder}/{parallel}"
        )
        for parallel in ("ddp", "fsdp")
    }


def _spoiled(recipe: Training, rank: int, store: str, folder: str) -> tuple[list[bool], str]:
    learner = build_learner(recipe, 0, CPU, None, None)
    learner.forward = Spoiled(learner.forward, {"narrated": {4, 8}} if rank == 1 else {})
    weights: list[torch.Tensor] = []  # before every step, and in the end
    batches = scheduled(recipe.stages[0], recipe.seed, 0, [plain_batches(store, recipe, 0)])
    with pytest.raises(UserError) as stopped:
        train(learner, _noting(batches, learner, weights), ignore, ignore, folder)
    weights.append(_values(learner))
    changed = [not torch.equal(a, b) for a, b in pairwise(weights)]
    return changed, str(stopped.value)


def _noting(batches: Any, learner: Learner, weights: list[torch.Tensor]) -> Any:
    for batch in batches:
        weights.append(_values(learner))
        yield batch


def _values(learner: Learner) -> torch.Tensor:
    """Of this rank's part of the parameters."""
    parts = [getattr(value, "_local_tensor", value) for value in learner.task.model.video.parameters()]
    return torch.cat([part.detach().flatten() for part in parts])


def test_a_stream_of_which_nothing_can_be_read_stops_the_run(store: str, tmp_path: Path) -> None:
    recipe = narrated(3, max_skipped=2)
    learner = build_learner(recipe, 0, CPU, None, None)
    lost = (replace(batch, clips=unreadable(batch.clips)) for batch in plain_batches(store, recipe, 0))
    with pytest.raises(UserError, match=r"stream 'narrated': no clip of its last 2 batches, up to step 2,"):
        train(learner, scheduled(recipe.stages[0], recipe.seed, 0, [lost]), ignore, ignore, str(tmp_path))


def unreadable(clips: Clips) -> Clips:
    return replace(clips, uids=torch.zeros_like(clips.uids), valid=torch.zeros_like(clips.valid))


def test_memory_that_does_not_suffice_names_the_settings_that_are_left() -> None:
    recipe = training(1, precision="bf16")
    with (
        pytest.raises(
            UserError, match=r"\(clips per worker: narrated 4, captioned 4\): raise launch.parts, set"
        ) as full,
        memory_named(recipe.stages[0], recipe.launch),
    ):
        torch.empty(1 << 50)
    assert "checkpoint_activations" in str(full.value)
    assert "bf16" not in str(full.value)
    with pytest.raises(RuntimeError, match="must match"), memory_named(recipe.stages[0], recipe.launch):
        torch.zeros(2) + torch.zeros(3)
