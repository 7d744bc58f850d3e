"""Checkpoints: weights as safetensors, the rest of a run's state in a file that loads without running code.

A checkpoint is a folder at any URI: model.safetensors (tied weights once), state.pt (optimiser, objectives, step),
recipe.json (the training it belongs to) and lineage.json (resolved recipe, commit, digests of the shards).
Of sharded training the first two are in as many parts as there were workers, model-00001-of-00002.safetensors and
state-00001-of-00002.pt, each with whole tensors, and model.safetensors.index.json says which part has which; every
tool that reads safetensors in parts reads them, and any number of workers goes on from them.
"""

import dataclasses
import io
import json
import pickle
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import safetensors.torch
import torch
from torch import Tensor, nn

from infra.errors import UserError
from infra.objects import MissingError, join, read_bytes
from trainers.models.weights.files import read_file
from trainers.models.weights.names import fill, own_weights
from trainers.older_recipes import VERSION, current
from trainers.recipe import Training
from trainers.recipe_json import from_values
from trainers.system_settings import SystemSettings

T = TypeVar("T")

MODEL_FILE, STATE_FILE, RECIPE_FILE, LINEAGE_FILE = (
    "model.safetensors",
    "state.pt",
    "recipe.json",
    "lineage.json",
)
INDEX_FILE = "model.safetensors.index.json"


@dataclass(frozen=True)
class State:
    """What a run needs, beside the weights, to go on as if it had never stopped."""

    step: int
    """Optimiser steps done."""
    optimizer: dict[str, Any]
    objectives: dict[str, Tensor]
    """Parameters and buffers of the objectives (heads, queues, momentum copies)."""
    skipped: int = 0
    """Steps of these that changed nothing, because a loss or gradient was not finite."""


@dataclass(frozen=True)
class Snapshot:
    """What a worker writes of a checkpoint: all of it, or its part of one in several parts."""

    weights: dict[str, Tensor]
    state: State
    """In a part only that part's share of the optimiser's state and of the objectives'."""
    part: int = 0
    names: tuple[tuple[str, ...], ...] = ()
    """Names of the tensors of each part; empty: there is one part."""

    def file(self, name: str) -> str:
        """The part's own name of a file."""
        return part_file(name, self.part, len(self.names)) if self.names else name


def part_file(name: str, part: int, parts: int) -> str:
    """ "model.safetensors" as "model-00001-of-00002.safetensors"."""
    stem, dot, ending = name.partition(".")
    return f"{stem}-{part + 1:05}-of-{parts:05}{dot}{ending}"


def save(
    folder: Path, model: nn.Module, state: State, training: Training, lineage: Mapping[str, str]
) -> None:
    """Write a checkpoint into a local folder."""
    write(folder, Snapshot(own_weights(model), state), training, lineage)


def write(folder: Path, snapshot: Snapshot, training: Training, lineage: Mapping[str, str]) -> None:
    """Write a checkpoint, or a part of one, into a local folder; the first part has what all have in common."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: value.contiguous() for name, value in snapshot.weights.items()}
    safetensors.torch.save_file(weights, folder / snapshot.file(MODEL_FILE))
    state = snapshot.state
    torch.save(
        {field.name: getattr(state, field.name) for field in dataclasses.fields(state)},
        folder / snapshot.file(STATE_FILE),
    )
    if snapshot.part == 0:
        (folder / RECIPE_FILE).write_text(json.dumps(recipe_json(training), indent=1))
        (folder / LINEAGE_FILE).write_text(json.dumps(dict(lineage), indent=1))
        if parts := len(snapshot.names):
            files = [part_file(MODEL_FILE, part, parts) for part in range(parts)]
            names = {name: file for file, part in zip(files, snapshot.names, strict=True) for name in part}
            index = {"metadata": {"parts": parts}, "weight_map": names}
            (folder / INDEX_FILE).write_text(json.dumps(index, indent=1))


def recipe_json(training: Training) -> dict[str, Any]:
    """A training as plain values, with the version of their form."""
    return {"version": VERSION, **dataclasses.asdict(training)}


def load_model(uri: str) -> tuple[nn.Module, SystemSettings]:
    """The model of a checkpoint, with its weights, and its sizes. UserError for what is none, or is damaged.

    Of the recipe it reads the sizes alone: who only uses the model need not know the kinds of its objectives.
    """
    system = _from_recipe(uri, lambda plain: from_values(Sizes, {"system": plain.get("system")}).system)
    model: nn.Module = system.built().build(system)
    load_weights(model, uri)
    return model, system


@dataclass(frozen=True)
class Sizes:
    """The part of a training that a model is built from."""

    system: SystemSettings


def load_training(uri: str) -> Training:
    """The training that a checkpoint belongs to, whichever version wrote it. UserError for what is no such recipe."""
    return _from_recipe(uri, lambda plain: from_values(Training, plain))


def _from_recipe(uri: str, read: Callable[[dict[str, Any]], T]) -> T:
    path = join(uri, RECIPE_FILE)
    try:
        plain = json.loads(read_bytes(path))
        if not isinstance(plain, dict):
            raise ValueError(f"it is {plain!r:.40}, not a mapping of fields")
        return read(current(plain))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(f"{path}: not a recipe of this version ({error})") from error


def load_lineage(uri: str) -> dict[str, str]:
    """Where the weights of a checkpoint come from."""
    path = join(uri, LINEAGE_FILE)
    try:
        return dict(json.loads(read_bytes(path)))
    except (ValueError, TypeError) as error:
        raise UserError(f"{path}: not a checkpoint's lineage ({error})") from error


def load_weights(model: nn.Module, uri: str, fresh: Sequence[str] = ()) -> None:
    """Fill a model from a checkpoint. UserError unless names and shapes are its own.

    `fresh`: first parts of names that keep what the model has, whether the checkpoint has them or not. ValueError for
    one that the model does not have.
    """
    weights: dict[str, Tensor] = {}
    for file in _files(uri, MODEL_FILE):
        weights |= read_file(join(uri, file))
    own = [name for name in fresh if not name.startswith("objectives.")]
    parts = dict.fromkeys(name.split(".", 1)[0] for name in model.state_dict())
    if unknown := sorted(set(own) - parts.keys()):
        raise ValueError(f"begin.fresh: the model has no part {unknown[0]!r}; it has {', '.join(parts)}")
    carried = {name: value for name, value in weights.items() if name.split(".", 1)[0] not in own}
    fill(
        model,
        carried,
        join(uri, MODEL_FILE),
        [end for part in parts if part not in own for end in (part, f"{part}.*")],
    )


def carry_objectives(objectives: nn.ModuleDict, uri: str, fresh: Sequence[str]) -> None:
    """Give objectives the state that they had at the end of the stage before, the checkpoint at a URI.

    `fresh`: "objectives.NAME" of those that keep theirs. UserError where the checkpoint has none for another.
    """
    carried = {
        name: each
        for name, each in objectives.items()
        if each.state_dict() and f"objectives.{name}" not in fresh
    }
    if not carried:
        return
    saved = load_state(uri).objectives
    for name, each in carried.items():
        own = {
            key.removeprefix(f"{name}."): value for key, value in saved.items() if key.startswith(f"{name}.")
        }
        if not own:
            raise UserError(
                f"{uri} has no state of the objective {name!r}; list objectives.{name} in the stage's begin.fresh to "
                "start it anew"
            )
        fill(each, own, f"{uri}: objective {name!r}")


def load_state(uri: str) -> State:
    """The state beside the weights. UserError for anything but plain tensors and values."""
    first, *others = (_load_state(join(uri, file)) for file in _files(uri, STATE_FILE))
    for other in others:
        first.optimizer["state"].update(other.optimizer["state"])
        first.objectives.update(other.objectives)
    return first


def _files(uri: str, name: str) -> list[str]:
    """A file of a checkpoint, or its parts."""
    index = join(uri, INDEX_FILE)
    try:
        parts = int(json.loads(read_bytes(index))["metadata"]["parts"])
    except MissingError:
        return [name]
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(f"{index}: not the index of a checkpoint in parts ({error})") from error
    return [part_file(name, part, parts) for part in range(parts)]


def _load_state(path: str) -> State:
    try:
        found = torch.load(io.BytesIO(read_bytes(path)), map_location="cpu", weights_only=True)
        found.pop("random", None)  # of version 1, whose objectives drew nothing
        return State(**found)
    except (
        pickle.UnpicklingError,
        RuntimeError,
        ValueError,
        TypeError,
        EOFError,
        KeyError,
        AttributeError,
    ) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path}: not a training state, or damaged ({reason[:120]})") from error
