import math
from dataclasses import replace

import torch

from tests.trainers.tiny import NARRATED, SYSTEM, tiny_batch, training
from trainers.loop.meters import Meters

RECIPE = training(10)
STAGE = RECIPE.stages[0]


def fresh_window(steps_done: int = 0) -> Meters:
    return Meters(RECIPE, STAGE, steps_done, torch.device("cpu"))


def closed(window: Meters) -> dict[str, float]:
    groups = [{"params": [torch.zeros(1)], "name": "rest"}]
    return window.close(torch.optim.SGD(groups, lr=0.1), skipped_steps=0)


def test_texts_that_fill_the_context_are_counted() -> None:
    tokens = torch.zeros(2, 2, SYSTEM.text.context, dtype=torch.int64)
    tokens[0, 1] = 7  # one of four has no padding
    window, batch = fresh_window(), tiny_batch(2)
    for some in (tokens, tokens[..., :4]):  # the second time padding was trimmed
        inputs = replace(batch.inputs, tokens=some)
        window.add(NARRATED, replace(batch, inputs=inputs), {}, torch.tensor(1.0))
    assert closed(window)["texts_cut_share"] == 1 / 8


def test_values_that_are_not_finite_are_left_out_of_the_means() -> None:
    window = fresh_window()
    for loss in (1.0, math.nan, 3.0, math.inf):
        window.add(NARRATED, tiny_batch(4), {"contrastive": torch.tensor(loss)}, torch.tensor(math.nan))
    found = closed(window)
    assert found["narrated/contrastive"] == 2
    assert "narrated/grad_norm" not in found


def test_samples_are_counted_from_the_beginning_of_the_stage_also_after_a_resume() -> None:
    window = fresh_window(steps_done=5)  # 3 narrated and 2 captioned batches of 4
    window.add(NARRATED, tiny_batch(4), {}, torch.tensor(1.0))
    assert closed(window)["samples_seen"] == 24
    assert closed(window)["samples_seen"] == 24
