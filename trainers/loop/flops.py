"""Arithmetic of a training step, counted from the recipe: what model FLOP utilisation (MFU) is measured against."""

from collections.abc import Iterator
from typing import Any

import torch

from trainers.loop.freezing import freeze
from trainers.recipe import Stage, Stream
from trainers.system import Chain
from trainers.system_settings import SystemSettings

_PEAKS = (  # dense, without sparsity, from NVIDIA's data sheets; the first name that a device's name contains
    ("B200", {"bf16": 2250e12, "fp32": 75e12}),
    ("H200", {"bf16": 989e12, "fp32": 67e12}),
    ("H100 PCIe", {"bf16": 756e12, "fp32": 51e12}),
    ("H100", {"bf16": 989e12, "fp32": 67e12}),
    ("A100", {"bf16": 312e12, "fp32": 19.5e12}),
    ("L40S", {"bf16": 362e12, "fp32": 91.6e12}),
    ("L4", {"bf16": 121e12, "fp32": 30.3e12}),
    ("A10G", {"bf16": 70e12, "fp32": 31.2e12}),
    ("RTX 4090", {"bf16": 165e12, "fp32": 82.6e12}),
)


def peak_flops(device: torch.device, precision: str) -> float | None:
    """FLOP/s that the device can do at most in "bf16" (tensor cores) or "fp32" (without TF32); None: not known."""
    if device.type != "cuda":
        return None
    name = torch.cuda.get_device_name(device)
    return next((peaks.get(precision) for known, peaks in _PEAKS if known in name), None)


def step_flops(system: SystemSettings, stage: Stage, stream: Stream, **cut: int) -> float | None:
    """FLOPs per clip of one training step, forward and backward, of the matrix products of the model; None where the
    system does not count.

    What is computed again to save memory is not counted, nor is the optimiser, nor what compares clips (the contrastive
    loss: 12 N d for N clips, under 0.1 % of the model's). `cut`: sizes that are smaller than the recipe's, as the
    system names them.
    """
    counted = _counted(system, stage, stream, cut)
    return None if counted is None else sum(_forward_and_backward(*counted))


def forward_flops(system: SystemSettings, stage: Stage, stream: Stream, **cut: int) -> float | None:
    """The forward part of `step_flops`."""
    counted = _counted(system, stage, stream, cut)
    return (
        None if counted is None else sum(product.flops for chain in counted[0] for product in chain.products)
    )


def _counted(
    system: SystemSettings, stage: Stage, stream: Stream, cut: dict[str, int]
) -> tuple[list[Chain], set[str]] | None:
    count: Any = system.built().chains
    if count is None:
        return None
    trained = _trained(system, stage)
    return count(system, stage, stream, trained, **cut), trained


def _forward_and_backward(chains: list[Chain], trained: set[str]) -> Iterator[float]:
    for chain in chains:
        crosses = chain.gradient_leaves
        for product in chain.products:
            is_trained = product.weight in trained
            operands = 2 if product.weight is None else 1
            yield product.flops * (1 + chain.has_gradient * (operands * crosses + is_trained))
            crosses |= is_trained


def _trained(system: SystemSettings, stage: Stage) -> set[str]:
    with torch.device("meta"):
        shapes = system.built().build(system)
    freeze(shapes, train=stage.train, freeze=stage.freeze, frozen_below=stage.frozen_below)
    return {name for name, parameter in shapes.named_parameters() if parameter.requires_grad}
