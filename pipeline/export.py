"""A checkpoint as files that others can use: weights, what is needed to embed with them, and a model card."""

import io
import re
from collections.abc import Mapping
from dataclasses import dataclass

import safetensors.torch
import torch
from rich.console import Console
from rich.markup import escape

from infra.errors import UserError
from infra.objects import MissingError, join, list_sizes, read_bytes, write_bytes
from pipeline.model_card import Layout, Origin, model_card, read_metrics
from pipeline.report_views import show_size
from trainers.checkpoint import LINEAGE_FILE, load_lineage, load_model, load_state, load_training
from trainers.models.pretrained import CONFIG_FILE, WEIGHTS_FILE, Usage
from trainers.models.video_text import VideoTextModel
from trainers.models.weights import tvtsv2

TVTSV2_FILE, CARD_FILE = "TVTSv2.pth", "README.md"


@dataclass(frozen=True)
class Exported:
    """The files of an export by name, with their sizes in bytes; and whether they were there before."""

    folder: str
    files: Mapping[str, int]
    earlier: bool


def export(
    checkpoint: str, folder: str, layout: Layout = "reelscript", metrics: str | None = None
) -> Exported:
    """Write a checkpoint's model into a folder (both may be URIs); the same export again changes nothing.

    `layout` "reelscript": config.json and model.safetensors, for `VideoTextModel.from_pretrained` and `--init`;
    "tvtsv2": TVTSv2.pth as the released files are, without the sorting head (TVTSv2, section 15). `metrics`: a file
    of numbers for the card. UserError for a folder that is no checkpoint, or one to write that holds anything else.
    """
    origin, model = read_checkpoint(checkpoint)
    usage = usage_of(origin)
    given = read_metrics(metrics) if metrics else {}
    weights = reelscript_files(model, usage) if layout == "reelscript" else tvtsv2_files(model)
    card = model_card(origin, usage, model, layout, given)
    return write(folder, {**weights, CARD_FILE: card.encode()})


def read_checkpoint(uri: str) -> tuple[Origin, VideoTextModel]:
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
    return Usage(training.model, training.pixels, training.num_frames)


def step_of(checkpoint: str) -> int:
    """Optimiser steps done: the number that ends the folder's name, or, after a renaming, the saved state's."""
    named = re.search(r"checkpoint_(\d+)$", checkpoint.rstrip("/"))
    return int(named[1]) if named else load_state(checkpoint).step


def reelscript_files(model: VideoTextModel, usage: Usage) -> dict[str, bytes]:
    """config.json and model.safetensors."""
    weights = {name: value.contiguous() for name, value in model.state_dict().items()}
    return {
        CONFIG_FILE: usage.to_json().encode(),
        WEIGHTS_FILE: safetensors.torch.save(weights, metadata={"format": "pt"}),
    }


def tvtsv2_files(model: VideoTextModel) -> dict[str, bytes]:
    """TVTSv2.pth, which `torch.load(weights_only=True)` reads."""
    entries = tvtsv2.export(model, sorting_head=False)
    file = io.BytesIO()
    torch.save({"state_dict": {name: value.contiguous() for name, value in entries.items()}}, file)
    return {TVTSV2_FILE: file.getvalue()}


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
        use = f'Use it: VideoTextModel.from_pretrained("{exported.folder}")'
        console.print(use, highlight=False, markup=False)
