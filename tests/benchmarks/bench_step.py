"""A training step of b32 against the same model written plainly: time and peak memory, fp32, on a CPU.

    python -m tests.benchmarks.bench_step [--quick]

Forward, backward and the published optimiser on 2 clips of 12 frames with 4 texts of 32 tokens, lower nine text blocks
frozen, without masking and at half of the patches (--quick: three video and text blocks). Both sides have the same
parameters; their losses and gradients are compared first. Memory is what a process of its own takes beyond the model,
its gradients and the optimiser's state.

On a machine with a GPU also the steps of b16, b32 and h14 in bf16, compiled, as model FLOP utilisation.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from statistics import median
from typing import Any

import torch
from torch import Tensor

from pipeline.recipe import Recipe
from pipeline.recipes.tvtsv2 import tvtsv2_b16, tvtsv2_b32, tvtsv2_h14
from tests.benchmarks.paired import result, timed_in_turns
from tests.benchmarks.peaks import peak_of
from tests.benchmarks.plain_model import plain_losses
from tests.trainers.tiny import NARRATED, adamw, tiny_batch, tiny_task
from trainers.data.batch import Batch
from trainers.loop.flops import peak_flops, step_flops
from trainers.loop.freezing import freeze, named_parameters
from trainers.loop.optimizers import build_optimizer
from trainers.loop.parts import means_of
from trainers.loop.task import Task
from trainers.loop.train import Learner, build_learner
from trainers.models.video_text import VideoTextModel
from trainers.recipe import Stream
from trainers.systems.tvtsv2.rows import num_kept
from trainers.systems.tvtsv2.settings import TVTSv2
from trainers.systems.tvtsv2.system import Inputs

CLIPS, CONTEXT = 2, 32
Losses = Callable[[], dict[str, Tensor]]


def batch_of(system: TVTSv2, clips: int, mask_ratio: float, context: int) -> Batch:
    """Texts of `context` ids, the end token last, and patches to keep."""
    draw = torch.Generator().manual_seed(0)
    patches = system.video.num_patches
    kept = num_kept(patches, mask_ratio)
    tokens = torch.randint(1, system.text.vocabulary - 1, (clips, 4, context), generator=draw)
    tokens[..., -1] = system.text.vocabulary - 1
    keep = torch.stack([torch.randperm(patches, generator=draw)[:kept] for _ in range(clips)])
    return replace(tiny_batch(clips), inputs=Inputs(tokens, keep))


def sides_of(mask_ratio: float, quick: bool) -> tuple[Task, dict[str, Losses]]:
    """One model, and its losses computed by us and plainly."""
    config, frozen = TVTSv2(), 9
    if quick:
        config, frozen = (
            replace(config, video=replace(config.video, layers=3), text=replace(config.text, layers=3)),
            2,
        )
    model = VideoTextModel.fresh(
        replace(config, video=replace(config.video, temporal_start="from_spatial")), 0
    )
    for block in model.video.blocks:
        torch.nn.init.normal_(block.timeattn.proj.weight, std=0.02)  # as if trained: it says something
    freeze(model, frozen_below={"text": frozen})
    task = tiny_task(model)
    batch = batch_of(config, CLIPS, mask_ratio, CONTEXT)
    pixels = torch.randn(CLIPS, 12, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    return task, {
        "ours": lambda: means_of(task(NARRATED, batch, pixels)),
        "plain": lambda: plain_losses(model, batch, pixels),
    }


def backward(losses: Losses) -> dict[str, Tensor]:
    """Forward and backward."""
    found = losses()
    torch.stack([NARRATED.objectives[name] * loss for name, loss in found.items()]).sum().backward()
    return found


def step_of(side: str, mask_ratio: float, quick: bool) -> Callable[[], None]:
    """A whole step of one side."""
    task, sides = sides_of(mask_ratio, quick)
    return stepping(task, sides[side])


def stepping(task: Task, losses: Losses) -> Callable[[], None]:
    """Forward, backward, optimiser."""
    optimizer = build_optimizer(named_parameters(task.model), adamw(1e-4, 1e-7))

    def step() -> None:
        backward(losses)
        optimizer.step()
        optimizer.zero_grad(set_to_none=False)  # the gradients' memory is there on both sides

    return step


def check_equal(task: Task, sides: dict[str, Losses]) -> None:
    """Losses to 1e-4, gradients to 1e-4 of the largest."""
    found = []
    for side in sides.values():
        task.zero_grad()
        losses = backward(side)
        gradients = {name: p.grad.clone() for name, p in task.named_parameters() if p.grad is not None}
        found.append((losses, gradients))
    (ours, our_gradients), (plain, plain_gradients) = found
    for name, loss in plain.items():
        torch.testing.assert_close(ours[name], loss, rtol=1e-4, atol=1e-4)
    for name, gradient in plain_gradients.items():
        torch.testing.assert_close(
            our_gradients[name], gradient, rtol=1e-3, atol=1e-4 * float(gradient.abs().max()) + 1e-7, msg=name
        )
    task.zero_grad()


def measure(mask_ratio: float, quick: bool) -> None:
    """One table and two results."""
    task, sides = sides_of(mask_ratio, quick)
    check_equal(task, sides)
    steps = {side: stepping(task, losses) for side, losses in sides.items()}
    pair = timed_in_turns(steps["ours"], steps["plain"], 2 if quick else 7)
    peaks = {side: peak_of(step_of, side, mask_ratio, quick) for side in sides}
    print(f"{'mask ' + str(mask_ratio):12} {'s':>8} {'MiB':>8}")
    for side, seconds in (("ours", pair.ours_s), ("plain", pair.other_s)):
        print(f"{side:12} {seconds:8.2f} {peaks[side] / 2**20:8.0f}")
    result(f"step_time_mask_{mask_ratio}", pair.ratio, "1.30")
    print(f"step_memory_mask_{mask_ratio} value={peaks['ours'] / peaks['plain']:.2f} target=<1.0")


def measure_utilisation(recipe: Recipe) -> None:
    """A narrated step of the published batch of one GPU, as the trainer takes it, in bf16 and compiled; beside it,
    eager and in fp32."""
    stage = recipe.training.stages[0]
    stream = replace(stage.streams[0], batch_size=stage.streams[0].rows_per_unit)
    device = torch.device("cuda")
    batch = batch_of(recipe.training.system, stream.batch_size, stream.reads.mask_ratio, 77)
    frames = torch.randint(0, 256, (stream.batch_size, stream.frames, 224, 224, 3), dtype=torch.uint8)
    batch = replace(batch, clips=replace(batch.clips, frames=frames)).to(device)
    peak = peak_flops(device, "bf16")
    launches: tuple[dict[str, Any], ...] = ({"precision": "bf16", "compile": True}, {"precision": "fp32"})
    for settings in launches:
        launch = replace(recipe.training.launch, workers=1, **settings)
        training = replace(recipe.training, launch=launch)
        seconds = seconds_of_a_step(build_learner(training, 0, device, None, None), stream, batch)
        flops = step_flops(training.system, stage, stream) * stream.batch_size / seconds
        share = f"MFU {flops / peak:.1%} of bf16" if peak else "MFU not known for this GPU"
        print(f"{recipe.name:12} {settings}: {seconds * 1000:.0f} ms, {flops / 1e12:.0f} TFLOP/s, {share}")
        if peak and settings["precision"] == "bf16":
            print(f"step_mfu_{recipe.name} value={flops / peak:.3f} target=0.45")


def seconds_of_a_step(learner: Learner, stream: Stream, batch: Batch) -> float:
    """Median of 20, after five that compile and warm up."""
    spent = []
    for _ in range(25):
        torch.cuda.synchronize()
        started = time.perf_counter()
        learner.backward(stream, batch)
        learner.optimizer.step()
        learner.optimizer.zero_grad(set_to_none=True)
        torch.cuda.synchronize()
        spent.append(time.perf_counter() - started)
    return median(spent[5:])


def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="three blocks a tower, two repeats")
    quick = parser.parse_args().quick
    for mask_ratio in (0.0, 0.5):
        measure(mask_ratio, quick)
    if torch.cuda.is_available():
        for recipe in (tvtsv2_b16(), tvtsv2_b32(), tvtsv2_h14()):
            measure_utilisation(recipe)
    else:
        for name in ("b16", "b32", "h14"):
            print(f"step_mfu_tvtsv2-{name} not measured: no GPU")


if __name__ == "__main__":
    main()
