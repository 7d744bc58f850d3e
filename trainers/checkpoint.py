"""Checkpoints: weights as safetensors, the rest of a run's state in a file that loads without running code.

A checkpoint is a folder at any URI: model.safetensors, state.pt (optimiser, objectives, step, random state),
recipe.json (the training it belongs to) and lineage.json (resolved recipe, commit, digests of the shards).
"""

import dataclasses
import io
import json
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from infra.errors import UserError
from infra.objects import join, read_bytes
from trainers.models.video_text import VideoTextModel
from trainers.models.weights.files import read_file
from trainers.models.weights.names import fill
from trainers.plain import from_plain
from trainers.recipe import Model, Training

MODEL_FILE, STATE_FILE, RECIPE_FILE, LINEAGE_FILE = (
    "model.safetensors",
    "state.pt",
    "recipe.json",
    "lineage.json",
)


@dataclass(frozen=True)
class State:
    """What a run needs, beside the weights, to go on as if it had never stopped."""

    step: int
    """Optimiser steps done."""
    optimizer: dict[str, Any]
    objectives: dict[str, Tensor]
    """Parameters and buffers of the objectives (queues, temperatures)."""
    random: dict[str, Tensor]
    """Generator states: "cpu", and "cuda" on a GPU."""


def save(
    folder: Path, model: nn.Module, state: State, training: Training, lineage: Mapping[str, str]
) -> None:
    """Write a checkpoint into a local folder."""
    weights = {name: value.contiguous() for name, value in model.state_dict().items()}
    safetensors.torch.save_file(weights, folder / MODEL_FILE)
    torch.save(
        {field.name: getattr(state, field.name) for field in dataclasses.fields(state)}, folder / STATE_FILE
    )
    (folder / RECIPE_FILE).write_text(json.dumps(dataclasses.asdict(training), indent=1))
    (folder / LINEAGE_FILE).write_text(json.dumps(dict(lineage), indent=1))


def load_model(uri: str) -> tuple[VideoTextModel, Model]:
    """The model of a checkpoint, with its weights. UserError for a folder that is none, or is damaged."""
    config = load_training(uri).model
    model = VideoTextModel(config)
    load_weights(model, join(uri, MODEL_FILE))
    return model, config


def load_training(uri: str) -> Training:
    """The training that a checkpoint belongs to."""
    path = join(uri, RECIPE_FILE)
    try:
        return from_plain(Training, json.loads(read_bytes(path)))
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(f"{path}: not a recipe of this version ({error})") from error


def load_lineage(uri: str) -> dict[str, str]:
    """Where the weights of a checkpoint come from."""
    path = join(uri, LINEAGE_FILE)
    try:
        return dict(json.loads(read_bytes(path)))
    except (ValueError, TypeError) as error:
        raise UserError(f"{path}: not a checkpoint's lineage ({error})") from error


def load_weights(model: nn.Module, uri: str) -> None:
    """Fill a model from a safetensors file in our layout. UserError unless names and shapes are its own."""
    fill(model, read_file(uri), uri)


def load_state(uri: str) -> State:
    """The state beside the weights. UserError for anything but plain tensors and values."""
    path = join(uri, STATE_FILE)
    try:
        found = torch.load(io.BytesIO(read_bytes(path)), map_location="cpu", weights_only=True)
        return State(**found)
    except (pickle.UnpicklingError, RuntimeError, ValueError, TypeError, EOFError, KeyError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path}: not a training state, or damaged ({reason[:120]})") from error
