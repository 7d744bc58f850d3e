"""The contrastive loss in blocks against the dense form: time and peak memory of forward and backward, fp32.

    python -m tests.benchmarks.bench_contrastive [--quick]

16,384 pairs of width 512 on a CPU (6,144 with --quick), 32,768 on a GPU. Memory is what a process of its own takes
beyond what it had with the features ready: peak resident memory on a CPU, allocated memory on a GPU.
"""

import argparse
from collections.abc import Callable

import torch
from torch import Tensor

from tests.benchmarks.paired import timed_in_turns
from tests.benchmarks.peaks import peak_of
from tests.trainers.objectives.dense import dense
from trainers.objectives.contrastive import info_nce

WIDTH, TEMPERATURE = 512, 0.05
Loss = Callable[[Tensor, Tensor, float, Tensor], Tensor]
SIDES: dict[str, Loss] = {"blocks": info_nce, "dense": dense}


def step_of(side: str, size: int, device: str) -> Callable[[], list[Tensor]]:
    """Forward and backward on features that are there: the loss and both gradients."""
    generator = torch.Generator().manual_seed(0)
    video, text = (
        torch.randn(size, WIDTH, generator=generator).to(device).requires_grad_() for _ in range(2)
    )
    valid = torch.ones(size, dtype=torch.bool, device=device)

    def step() -> list[Tensor]:
        video.grad = text.grad = None
        loss = SIDES[side](video, text, TEMPERATURE, valid)
        loss.backward()
        if device == "cuda":
            torch.cuda.synchronize()
        assert video.grad is not None
        assert text.grad is not None
        return [loss.detach(), video.grad, text.grad]

    return step


def main() -> None:
    """Check that both sides agree, measure, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="6,144 pairs, two repeats")
    quick = parser.parse_args().quick
    measure("cpu", 6144 if quick else 16384, 2 if quick else 5)
    if torch.cuda.is_available():
        measure("cuda", 32768, 5)
    else:
        print("contrastive_gpu not measured: no GPU")


def measure(device: str, size: int, repeats: int) -> None:
    """One table and two results."""
    steps = {side: step_of(side, size, device) for side in SIDES}
    for ours, theirs in zip(*(step() for step in steps.values()), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
    pair = timed_in_turns(steps["blocks"], steps["dense"], repeats)
    peaks = {side: peak_of(step_of, side, size, device) for side in SIDES}
    print(f"{size} x {WIDTH} on {device}   {'s':>8} {'MiB':>8}")
    for side, seconds in (("blocks", pair.ours_s), ("dense", pair.other_s)):
        print(f"{side:24} {seconds:8.3f} {peaks[side] / 2**20:8.0f}")
    bound(f"contrastive_time_{device}", 1 / pair.ratio, 1.0)
    bound(f"contrastive_memory_{device}", peaks["blocks"] / peaks["dense"], 0.12)


def bound(name: str, value: float, target: float) -> None:
    """A last line with an upper bound."""
    print(f"{name} value={value:.3f} target=<={target}")


if __name__ == "__main__":
    main()
