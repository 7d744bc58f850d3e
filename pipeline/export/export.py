"""A checkpoint as files that others can use: weights, what is needed to embed with them, and a model card."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

import safetensors.torch
from rich.console import Console
from rich.markup import escape
from torch import nn

from infra.errors import UserError
from infra.objects import MissingError, join, list_files, list_sizes, read_bytes, write_bytes
from pipeline.export.model_card import Origin, model_card, read_metrics
from pipeline.recipes.resolve import OURS as RECIPES
from pipeline.recipes.resolve import resolve
from pipeline.report.views import show_size
from trainers.checkpoints.checkpoint import LINEAGE_FILE, load_lineage, load_model, load_state, load_training
from trainers.models.pretrained import CONFIG_FILE, WEIGHTS_FILE, Usage
from trainers.models.weights.names import own_weights
from trainers.system import System

CARD_FILE = "README.md"
OURS = "reelscript"
"""The layout that every system has."""


@dataclass(frozen=True)
class Exported:
    """The files of an export by name, with their sizes in bytes; and whether they were there before."""

    folder: str
    files: Mapping[str, int]
    earlier: bool


def export(checkpoint: str, folder: str, layout: str = OURS, metrics: str | None = None) -> Exported:
    """Write a checkpoint's model into a folder (both may be URIs); the same export again changes nothing.

    `layout` "reelscript": config.json and model.safetensors, to load and to start from; others are the system's own
    (TVTSv2, section 15, has "tvtsv2"). `metrics`: a file of numbers for the card. UserError for a folder that is no
    checkpoint, a layout that the system does not have, or a folder to write that holds anything else.
    """
    origin, model = read_checkpoint(checkpoint_at(checkpoint))
    usage = usage_of(origin)
    system: System = usage.system.built()
    others = system.files
    if layout not in (OURS, *others):
        raise UserError(
            f"{checkpoint} cannot be exported as {layout!r}; there are {', '.join([OURS, *others])}"
        )
    given = read_metrics(metrics) if metrics else {}
    weights = own_files(model, usage) if layout == OURS else others[layout].make(model)
    card = model_card(origin, usage, model, others.get(layout), given)
    return write(folder, {**weights, CARD_FILE: card.encode()})


def checkpoint_at(place: str) -> str:
    """The checkpoint itself; of a run's output, or of a recipe, the one that its training ended with.

    UserError where several seeds were trained, or the last stage was not.
    """
    is_recipe = place in RECIPES or ".py:" in place
    output = resolve(place).output if is_recipe else place
    stages = [uri for uri in list_files(join(output, "steps")) if "/stage-" in uri]
    if not stages:
        if is_recipe:
            raise UserError(f"{output}, the output of {place}, holds no finished stage: train first")
        return place
    seeds = sorted({uri.rpartition("/")[0] for uri in stages})
    if len(seeds) > 1:
        names = ", ".join(seed.rpartition("/")[2] for seed in seeds)
        raise UserError(
            f"{output} holds several trainings ({names}); name the checkpoint of one, below {output}/runs"
        )
    ended = {uri.rpartition("/stage-")[2].removesuffix(".json"): uri for uri in stages}
    found = {name: str(json.loads(read_bytes(uri))["result"]["checkpoint"]) for name, uri in ended.items()}
    last = load_training(next(iter(found.values()))).stages[-1].name
    if last not in found:
        raise UserError(
            f"{output}: the last stage, {last!r}, has not been trained to its end; train it first"
        )
    return found[last]


def read_checkpoint(uri: str) -> tuple[Origin, nn.Module]:
    """A checkpoint's model and where it comes from. UserError for a folder that is none, or is damaged."""
    try:
        origin = Origin.of(load_training(uri), load_lineage(uri), step_of(uri))
    except MissingError as error:
        raise UserError(f"{uri} is no checkpoint ({error}); name the folder that `train` told") from error
    except (ValueError, TypeError, AttributeError) as error:
        raise UserError(f"{join(uri, LINEAGE_FILE)}: its recipe cannot be read ({error})") from error
    return origin, load_model(uri)[0]


def usage_of(origin: Origin) -> Usage:
    """How the evaluation embeds: with as many frames as the longest clips of training have."""
    training = origin.training
    return Usage(training.system, training.pixels, training.num_frames)


def step_of(checkpoint: str) -> int:
    """Optimiser steps done: the number that ends the folder's name, or, after a renaming, the saved state's."""
    named = re.search(r"checkpoint_(\d+)$", checkpoint.rstrip("/"))
    return int(named[1]) if named else load_state(checkpoint).step


def own_files(model: nn.Module, usage: Usage) -> dict[str, bytes]:
    """config.json and model.safetensors: what the system exports, tied weights once."""
    wanted = own_weights(model, usage.system.built().exported)
    weights = {name: value.contiguous() for name, value in wanted.items()}
    return {
        CONFIG_FILE: usage.to_json().encode(),
        WEIGHTS_FILE: safetensors.torch.save(weights, metadata={"format": "pt"}),
    }


def write(folder: str, contents: Mapping[str, bytes]) -> Exported:
    """Write the files that are not there yet. UserError, before anything is written, if another file is."""
    found = {
        uri.removeprefix(folder.rstrip("/")).strip("/"): size for uri, size in list_sizes(folder).items()
    }
    if "" in found:
        raise UserError(f"{folder} is a file; name a folder to write")
    if strange := sorted(found.keys() - contents.keys()):
        raise UserError(
            f"{folder} holds {strange[0]}, which is no part of this export; choose another folder"
        )
    for name, size in found.items():
        if size != len(contents[name]) or read_bytes(join(folder, name)) != contents[name]:
            raise UserError(f"{folder} holds another {name}; choose another folder, or remove that export")
    for name, data in contents.items():
        if name not in found:
            write_bytes(join(folder, name), data)
    return Exported(
        folder, {name: len(data) for name, data in contents.items()}, earlier=len(found) == len(contents)
    )


def show(exported: Exported) -> None:
    """What lies where, for people."""
    console = Console(soft_wrap=True)
    done = "was exported before; nothing to do" if exported.earlier else "exported"
    console.print(f"[green]✓[/] [bold]{escape(exported.folder)}[/]  {done}", highlight=False)
    for name, size in exported.files.items():
        console.print(f"  {name:<18} {show_size(size):>8}", highlight=False)
    if CONFIG_FILE in exported.files:
        use = f'Use it: load_pretrained("{exported.folder}") of trainers.models.pretrained; {CARD_FILE} shows how'
        console.print(use, highlight=False, markup=False)
