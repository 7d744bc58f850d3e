"""TVTSv2 does not move: losses and weights of a short training are those recorded before the house was rebuilt.

`python -m tests.trainers.test_unmoved` records them anew. That is right only after a change that is meant to move
numbers, and is said in its commit.
"""

import hashlib
import json
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.ingest.clips import write_stream
from tests.trainers.loop.test_sharding import own_half
from tests.trainers.ranks import in_two_ranks
from tests.trainers.tiny import CAPTIONED, NARRATED, OBJECTIVES, SYSTEM, adamw, plain_batches
from trainers.checkpoints import checkpoint
from trainers.loop.train import build_learner, scheduled, train
from trainers.objectives.settings import Contrastive, Sorting
from trainers.ranks import own_rank
from trainers.recipe import Constant, Cosine, Pixels, Stage, Training
from trainers.systems.tvtsv2.rows import TVTSv2Reads

RECORDED = Path(__file__).parents[1] / "goldens" / "unmoved.json"
STEPS = 20
TOLERANCE = 1e-6
DIRECTIONS = 4
"""Numbers kept of every tensor of weights: its products with as many fixed random directions of length one."""

Found = dict[str, Any]


def recipe() -> Training:
    """Stills, then narrated and captioned clips in turn, from weights whose first gradients are no rounding errors.

    The rates are small and eps is large, since AdamW makes steps of gradients that are zero but for rounding.
    """
    fast = adamw(1e-4, 1e-5, eps=1e-5, form="torch", unused="skip", course=Constant(warmup_steps=4))
    published = adamw(1e-4, 1e-5, eps=1e-5, course=Cosine(), max_grad_norm=1.0)
    stills = replace(CAPTIONED, frames=1, reads=TVTSv2Reads())
    system = replace(SYSTEM, video=replace(SYSTEM.video, temporal_start="from_spatial"))
    summed = (Contrastive(gather="summed"), Sorting())
    stages = (
        Stage("stills", (stills,), summed, STEPS, fast),
        Stage("tvtsv2", (NARRATED, CAPTIONED), OBJECTIVES, STEPS, published, frozen_below={"text": 1}),
    )
    plain = Training(system, Pixels(short_side=16, crop=16), stages)
    return replace(plain, launch=replace(plain.launch, threads=1, log_every=1, checkpoint_every=STEPS))


def trained(rank: int, store: str, folder: str) -> Found:
    """Both stages in this rank: every loss by stage, step and name, and what is kept of the weights."""
    training, start, found = recipe(), None, {}
    for index, stage in enumerate(training.stages):
        learner = build_learner(training, index, torch.device("cpu"), start, None)
        one_stage = replace(training, stages=(stage,))
        batches = [own_half(plain_batches(store, one_stage, number)) for number in range(len(stage.streams))]
        losses: dict[str, float] = {}

        def log(step: int, values: Mapping[str, float], stage: Stage = stage, into: Found = losses) -> None:
            names = [f"{stream.name}/{name}" for stream in stage.streams for name in stream.objectives]
            into |= {f"{step}/{name}": values[name] for name in names if name in values}

        train(
            learner,
            scheduled(stage, training.seed, 0, batches),
            log,
            lambda step, values: None,
            f"{folder}/run",
        )
        found[stage.name] = losses
        start = f"{folder}/{stage.name}-{own_rank()}"
        checkpoint.save(Path(start), learner.task.model, learner.state(), training, {})
    weights = learner.task.model.state_dict()
    return {"losses": found, "weights": {name: kept(name, value) for name, value in weights.items()}}


def kept(name: str, value: Tensor) -> Found:
    """A hash of all bits, and a few numbers that say how far two tensors are apart."""
    flat = value.flatten().double().numpy()
    draw = np.random.default_rng(int(hashlib.blake2b(name.encode(), digest_size=4).hexdigest(), 16))
    directions = draw.standard_normal((DIRECTIONS, len(flat)))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    digest = hashlib.blake2b(value.contiguous().numpy().tobytes(), digest_size=8).hexdigest()
    return {"hash": digest, "products": (directions @ flat).tolist()}


def runs(folder: Path) -> Found:
    """The same training by one worker and by two."""
    store = str(folder / "store")
    for stream in ("narrated", "captioned"):
        write_stream(store, stream, 24)
    torch.set_num_threads(1)
    one = trained(0, store, str(folder / "one"))
    two, other = in_two_ranks(trained, store, str(folder / "two"))
    assert hashes(two) == hashes(other)
    return {"one": one, "two": two}


def hashes(found: Found) -> dict[str, str]:
    """Of every tensor of weights."""
    return {name: each["hash"] for name, each in found["weights"].items()}


def here() -> dict[str, str]:
    """What decides the order in which sums are made."""
    return {"torch": torch.__version__.split("+")[0], "cpu": torch.backends.cpu.get_cpu_capability()}


def far(ours: Found, recorded: Found) -> float:
    """The largest difference of a loss, beside the loss, or of a product with a tensor of weights."""
    losses = [
        abs(ours["losses"][stage][name] - value) / abs(value)
        for stage, values in recorded["losses"].items()
        for name, value in values.items()
    ]
    products = [
        abs(mine - theirs)
        for name, each in recorded["weights"].items()
        for mine, theirs in zip(ours["weights"][name]["products"], each["products"], strict=True)
    ]
    return max(losses + products)


def test_losses_and_weights_are_those_recorded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recorded = json.loads(RECORDED.read_text())
    threads = torch.get_num_threads()
    found = runs(tmp_path)
    torch.set_num_threads(threads)
    same_machine = recorded["here"] == here()
    with capsys.disabled():
        how = "to the bit" if same_machine else f"to {TOLERANCE:g}: recorded with {recorded['here']}"
        sys.stdout.write(f"\n  compared {how}; here {here()}\n")
    for workers in ("one", "two"):
        assert found[workers]["weights"].keys() == recorded[workers]["weights"].keys()
        assert far(found[workers], recorded[workers]) < TOLERANCE
    if same_machine:
        assert found["one"]["losses"] == recorded["one"]["losses"]
        assert hashes(found["one"]) == hashes(recorded["one"])
        assert hashes(found["two"]) == hashes(recorded["two"])


def main() -> None:
    """See the top."""
    with tempfile.TemporaryDirectory() as folder:
        RECORDED.write_text(json.dumps({"here": here(), **runs(Path(folder))}, indent=1) + "\n")


if __name__ == "__main__":
    main()
