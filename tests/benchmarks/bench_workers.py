"""Two training workers against one with the same global batches: what the losses differ by.

    python -m tests.benchmarks.bench_workers [--quick]

A tiny model, gradients of the gathered loss summed over workers, masks from (seed, uid, epoch). The workers are two
processes that talk over gloo, each with its half of every batch, on CPU and one thread.
"""

import argparse
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import torch

from tests.ingest.clips import write_stream
from tests.trainers.drivers import recipe_of
from tests.trainers.loop.test_sharding import own_half
from tests.trainers.ranks import in_two_ranks
from tests.trainers.tiny import plain_batches
from trainers.loop.train import build_learner, scheduled, train
from trainers.recipe import Training

Losses = dict[tuple[int, str], float]
"""By step and name."""


def recipe(steps: int) -> Training:
    """The tiny recipe of the tests, with the gather rule and the start that do not depend on the number of workers."""
    plain = recipe_of(steps, checkpoint_every=steps)
    return replace(plain, launch=replace(plain.launch, trace_batches=False))


def losses_of(rank: int, store: str, steps: int) -> Losses:
    """Train in this process, which is one of the workers or the only one; its losses at every step."""
    torch.set_num_threads(1)
    settings = recipe(steps)
    learner = build_learner(settings, 0, torch.device("cpu"), None, None)
    found: Losses = {}

    def log(step: int, values: object) -> None:
        assert isinstance(values, dict)
        for stream in settings.stages[0].streams:
            names = (f"{stream.name}/{name}" for name in stream.objectives)
            found.update({(step, name): values[name] for name in names if name in values})

    sources = [own_half(plain_batches(store, settings, index)) for index in (0, 1)]
    batches = scheduled(settings.stages[0], settings.seed, 0, sources)
    train(learner, batches, log, lambda step, values: None, f"{store}/run")
    return found


def main() -> None:
    """Train both ways and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="10 steps instead of 50")
    steps = 10 if parser.parse_args().quick else 50
    with tempfile.TemporaryDirectory() as name:
        store = str(Path(name) / "store")
        for stream in ("narrated", "captioned"):
            write_stream(store, stream, 48)
        alone = losses_of(0, store, steps)
        first, second = in_two_ranks(losses_of, store, steps)
    together = {key: (first[key] + second[key]) / 2 for key in alone}
    names = sorted({name for _, name in alone})
    print(f"{'loss':28} {'step 1, 2':>10} {'last':>10} {'largest difference':>20}")
    for name in names:
        at = [step for step, each in alone if each == name]
        worst = max(abs(together[step, name] - alone[step, name]) for step in at)
        print(f"{name:28} {alone[at[0], name]:10.5f} {alone[at[-1], name]:10.5f} {worst:20.2e}")
    value = max(abs(together[key] - alone[key]) for key in alone)
    print(f"workers_losses value={value:.1e} target=<=1e-5")
    sys.exit(0 if value <= 1e-5 else 1)


if __name__ == "__main__":
    main()
