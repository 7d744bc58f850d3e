"""Checkpoints: weights as safetensors, the rest of a run's state in a file that loads without running code.

A checkpoint is a folder at any URI: model.safetensors, state.pt (optimiser, objectives, step, random state),
recipe.json (the training it belongs to) and lineage.json (resolved recipe, commit, digests of the shards).
"""

import dataclasses
import io
import json
import pickle
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from infra.errors import UserError
from infra.objects import join, read_bytes
from trainers.models.video_text import VideoTextModel
from trainers.recipe import Model, Training

MODEL_FILE, STATE_FILE, RECIPE_FILE, LINEAGE_FILE = (
    "model.safetensors",
    "state.pt",
    "recipe.json",
    "lineage.json",
)

T = TypeVar("T")


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
    try:
        weights = safetensors.torch.load(read_bytes(uri))
    except SafetensorError as error:
        raise UserError(f"{uri}: not a safetensors file, or damaged ({error})") from error
    own = model.state_dict()
    wrong = sorted(own.keys() ^ weights.keys()) or sorted(
        name for name, value in weights.items() if value.shape != own[name].shape
    )
    if wrong:
        raise UserError(
            f"{uri}: does not fit the recipe's model: {len(wrong)} parameters differ, first {wrong[0]!r}"
        )
    model.load_state_dict(weights)


def load_state(uri: str) -> State:
    """The state beside the weights. UserError for anything but plain tensors and values."""
    path = join(uri, STATE_FILE)
    try:
        found = torch.load(io.BytesIO(read_bytes(path)), map_location="cpu", weights_only=True)
        return State(**found)
    except (pickle.UnpicklingError, RuntimeError, ValueError, TypeError, EOFError, KeyError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path}: not a training state, or damaged ({reason[:120]})") from error


def from_plain(kind: type[T], plain: Any) -> T:
    """A dataclass from what `dataclasses.asdict` and JSON made of it. ValueError naming an unknown field."""
    if not dataclasses.is_dataclass(kind):
        return typing.cast(T, _value(kind, plain))
    hints = typing.get_type_hints(kind)
    unknown = sorted(set(plain) - {field.name for field in dataclasses.fields(kind)})
    if unknown:
        raise ValueError(f"{kind.__name__} has no field {unknown[0]!r}")
    return kind(**{name: _value(hints[name], value) for name, value in plain.items()})


def _value(hint: Any, plain: Any) -> Any:
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        inner = [part for part in typing.get_args(hint) if part is not type(None)]
        return None if plain is None else _value(inner[0], plain)
    if dataclasses.is_dataclass(hint):
        return from_plain(typing.cast(type[Any], hint), plain)
    if typing.get_origin(hint) is tuple and isinstance(plain, list):
        return tuple(_value(typing.get_args(hint)[0], item) for item in plain)
    return plain
