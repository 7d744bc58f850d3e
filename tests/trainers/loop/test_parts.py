"""A batch in parts has the losses and the gradients of the whole, in one process and in two."""

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel
from torch.testing import assert_close

from tests.trainers.ranks import in_two_ranks
from tests.trainers.tiny import CAPTIONED, NARRATED, tiny_batch, tiny_pixels, tiny_task, training
from trainers.cluster.launch import check_parts
from trainers.data.batch import Batch, joined
from trainers.loop.parts import Computing, backward_in_parts, means_of, weighted_sum
from trainers.loop.task import Task
from trainers.loop.train import Learner, build_learner, unit_of
from trainers.objectives.settings import Contrastive, Sorting
from trainers.recipe import Stream, Training
from trainers.systems.tvtsv2.system import Inputs

CPU = torch.device("cpu")
COMPARED = replace(NARRATED, objectives={"contrastive": 1.0})
SORTED = replace(NARRATED, objectives={"sorting": 1.0})
Named = dict[str, NDArray[np.float32]]


def batch() -> Batch:
    """Three of the four unreadable rows are in the second half; of the last third none can be read."""
    return tiny_batch(8, valid=[1, 1, 0, 1, 1, 1, 0, 0])


def whole(task: Task, forward: nn.Module, stream: Stream, rows: Batch) -> tuple[Named, Named]:
    losses = means_of(forward(stream, rows, pixels_of(rows)))
    weighted_sum(stream, losses).backward()
    return numbers(losses), gradients(task)


def in_parts(task: Task, forward: nn.Module, stream: Stream, rows: Batch, count: int) -> tuple[Named, Named]:
    computing = Computing(
        lambda stream, part, number: task.features(stream, part, pixels_of(part)),
        lambda stream, part, number, pulls: forward(stream, part, pixels_of(part), pulls),
    )
    losses = backward_in_parts(task, forward, computing, stream, list(rows.split(count)))
    return numbers(losses), gradients(task)


def pixels_of(rows: Batch) -> torch.Tensor:
    return tiny_pixels(8)[rows.clips.position]


def numbers(losses: dict[str, torch.Tensor]) -> Named:
    return {name: loss.detach().numpy().copy() for name, loss in losses.items()}


def gradients(task: Task) -> Named:
    named = task.model.named_parameters()
    return {name: p.grad.numpy().copy() for name, p in named if p.grad is not None}


def close(found: tuple[Named, Named], expected: tuple[Named, Named]) -> None:
    """To a millionth of the largest loss, and of the largest gradient."""
    assert found[1].keys() == expected[1].keys()
    for ours, theirs in zip(found, expected, strict=True):
        tolerance = 1e-6 * max(float(np.abs(value).max()) for value in theirs.values())
        for name, value in theirs.items():
            np.testing.assert_allclose(ours[name], value, rtol=1e-6, atol=tolerance, err_msg=name)


@pytest.mark.parametrize("stream", [NARRATED, COMPARED, SORTED], ids=["both", "contrastive", "sorting"])
def test_three_parts_give_the_losses_and_gradients_of_the_whole_batch(stream: Stream) -> None:
    undivided, divided = tiny_task(), tiny_task()
    close(in_parts(divided, divided, stream, batch(), 3), whole(undivided, undivided, stream, batch()))


def test_a_batch_has_no_more_parts_than_clips() -> None:
    assert sizes(3) == [3, 3, 2]
    assert sizes(100) == [1] * 8


def test_a_part_holds_whole_units() -> None:
    assert sizes(2, unit=4) == [4, 4]
    assert sizes(3, unit=4) == [4, 4]  # there are two
    assert sizes(3, unit=2) == [4, 2, 2]
    assert sizes(2, unit=3) == [6, 2]  # of three units the last is not whole


def sizes(count: int, unit: int = 1) -> list[int]:
    return [len(part.clips) for part in batch().split(count, unit)]


def test_what_is_not_finite_in_one_part_spoils_the_gradients() -> None:
    task = tiny_task()
    with torch.no_grad():
        task.model.sorting.head.bias.fill_(torch.inf)
    losses, found = in_parts(task, task, NARRATED, batch(), 2)
    assert np.isnan(losses["sorting"])
    assert np.isnan(found["video.projection"]).all()


@pytest.mark.parametrize("settings", [{"parts": 3}, {"checkpoint_activations": True}], ids=str)
def test_how_a_learner_is_launched_does_not_change_its_gradients(settings: dict[str, int]) -> None:
    recipe, rows = training(1), five_clips()
    found = []
    for launch in (recipe.launch, replace(recipe.launch, **settings)):
        learner = build_learner(replace(recipe, launch=launch), 0, CPU, None, None)
        losses = learner.backward(recipe.stages[0].streams[0], rows)
        found.append((numbers(losses), gradients(learner.task)))
    close(found[1], found[0])


def five_clips() -> Batch:
    """Five clips of the tiny recipe."""
    draw = torch.Generator().manual_seed(0)
    frames = torch.randint(0, 256, (5, 4, 16, 16, 3), dtype=torch.uint8, generator=draw)
    tokens = torch.randint(1, 49000, (5, 4, 6), generator=draw).index_fill(2, torch.tensor([5]), 49407)
    inputs = Inputs(tokens, torch.tensor([[0, 3]]).expand(5, -1))
    return Batch(replace(tiny_batch(5).clips, frames=frames), inputs)


def test_both_passes_over_a_part_draw_alike_and_parts_and_steps_draw_differently() -> None:
    same_clip_twice = joined([five_clips().rows(slice(1))] * 2)
    learner, resumed = dropping(), dropping()
    first, second, first_again, second_again = drawn(learner, same_clip_twice)
    assert torch.equal(first, first_again)
    assert torch.equal(second, second_again)
    assert not torch.equal(first, second)
    learner.step = resumed.step = 1
    assert not torch.equal(drawn(learner, same_clip_twice)[0], first)
    assert torch.equal(drawn(resumed, same_clip_twice)[1], drawn(learner, same_clip_twice)[1])


def dropping() -> Learner:
    """One that takes batches in two parts, and whose video tower drops half of what it says."""
    learner = build_learner(training(1, parts=2), 0, CPU, None, None)
    learner.task.model.video.ln_post.register_forward_hook(lambda module, args, out: functional.dropout(out))
    return learner


def drawn(learner: Learner, rows: Batch) -> list[torch.Tensor]:
    """What the video tower says of each part, without a graph and then with one."""
    seen: list[torch.Tensor] = []
    hook = learner.task.model.video.register_forward_hook(
        lambda module, args, out: seen.append(out.pooled.detach())
    )
    learner.backward(NARRATED, rows)
    hook.remove()
    return seen


@dataclass(frozen=True)
class InUnits(Sorting):
    """Sorting that looks at the clips of a unit together."""

    unit = "unit"


@dataclass(frozen=True)
class Undivided(Sorting):
    """Sorting that looks at all of a batch."""

    unit = "batch"


def test_parts_hold_whole_units_where_an_objective_of_the_stream_asks_for_it() -> None:
    learner = build_learner(with_sorting(training(1, parts=3), InUnits()), 0, CPU, None, None)
    rows, pairs = five_clips().rows(slice(4)), NARRATED.rows_per_unit
    assert [len(out) for out in drawn(learner, rows)] == [pairs, pairs] * 2
    assert unit_of(learner.stage, CAPTIONED) == 1  # it does not sort


def test_an_objective_that_needs_the_whole_batch_refuses_parts_before_anything_starts() -> None:
    recipe = with_sorting(training(1, parts=2), Undivided())
    with pytest.raises(
        ValueError, match=r"launch\.parts: the objective 'sorting' cannot be computed of parts"
    ):
        check_parts(recipe, recipe.stages[0])
    whole = replace(recipe, launch=replace(recipe.launch, parts=1))
    check_parts(whole, whole.stages[0])


def with_sorting(recipe: Training, sorting: Sorting) -> Training:
    stage = replace(recipe.stages[0], objectives=(Contrastive(), sorting))
    return replace(recipe, stages=(stage,))


def ranks_work(rank: int) -> list[tuple[Named, Named]]:
    own = list(batch().split(2))[rank]
    found = []
    for work in (whole, partial(in_parts, count=3)):
        task = tiny_task(gather="summed")
        found.append(work(task, DistributedDataParallel(task, find_unused_parameters=True), NARRATED, own))
    return found


def test_two_ranks_with_parts_have_the_averaged_gradients_of_two_without() -> None:
    (undivided, divided), (_, second) = in_two_ranks(ranks_work)
    close(divided, undivided)
    assert_close(divided[1], second[1], rtol=0, atol=0)
