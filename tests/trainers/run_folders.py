"""Folders of training runs as Ray Train leaves them, made without Ray."""

import json
from collections.abc import Sequence
from pathlib import Path

import torch

from trainers.checkpoints import checkpoint
from trainers.loop.train import build_learner
from trainers.recipe import Training


def write_run(folder: Path, recipe: Training, folders: Sequence[str], committed: Sequence[str]) -> None:
    """Checkpoints of these names, of which Train's book holds the `committed` ones."""
    for name in folders:
        (folder / name).mkdir(parents=True)
        learner = build_learner(recipe, 0, torch.device("cpu"), None, None)
        checkpoint.save(folder / name, learner.task.model, learner.state(), recipe, {"ledger/narrated": "1"})
    entries = [
        {"checkpoint_dir_name": name, "metrics": {"step": int(name[-2:]), "loss": 1.5}} for name in committed
    ]
    book = {
        "checkpoint_results": entries,
        "checkpoint_report_indices": list(range(len(entries))),
        "latest_checkpoint_result": entries[-1] if entries else None,
    }
    (folder / "checkpoint_manager_snapshot.json").write_text(json.dumps(book))
