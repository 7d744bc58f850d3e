"""Weights from files: safetensors, or torch files without any code in them; which layout they are in."""

import io
import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from infra.errors import UserError
from infra.objects import local_path, read_bytes, translated
from trainers.models.weights import clip, openclip, tvtsv2
from trainers.models.weights.names import fill
from trainers.models.weights.places import files_at, weight_files
from trainers.models.weights.unpickling import CallError, load_inert

_ZIP, _PICKLE = b"PK\x03\x04", b"\x80"


def read_weights(place: str) -> dict[str, Tensor]:
    """The tensors at a place, by name: a file, a folder or a URI of one, or a hub id `owner/name[@revision]`.

    UserError for a place that holds none, and as `read_file`.
    """
    found = files_at(place, lambda names: weight_files(place, names))
    return {name: value for uri in found.values() for name, value in read_file(uri).items()}


def read_file(uri: str) -> dict[str, Tensor]:
    """The tensors of a .safetensors file or of a torch file (its `state_dict` where it has one), by name.

    UserError for a file that is cut off, is something else, or wants to run code when read.
    """
    with translated(uri):
        entries = _safetensors(uri) if uri.endswith(".safetensors") else _torch(uri)
    if strange := [name for name, value in entries.items() if not isinstance(value, Tensor)]:
        raise UserError(f"{uri} is not a file of weights: {strange[0]!r} is no tensor")
    return entries


def load_start(model: nn.Module, entries: Mapping[str, Tensor], what: str = "the start weights") -> str:
    """Copy weights of any layout we know into the model; returns the layout's name.

    What the layout does not cover keeps its start. UserError names what is missing, extra or misshapen in `what`.
    """
    names = {name.removeprefix("module.") for name in entries}
    if "video.patch_embedding.weight" in names:
        fill(model, entries, what)
        return "reelscript"
    if "video_model.conv1.weight" in names:
        head = any(name.startswith("pred_model.") for name in names)
        tvtsv2.load(model, entries, sorting_head=head, what=what)
        return "tvtsv2"
    if "vision_model.embeddings.class_embedding" in names:
        clip.load(model, entries, what)
        return "clip"
    if "visual.class_embedding" in names:
        openclip.load(model, entries, what)
        return "openclip"
    some = ", ".join(sorted(names)[:3]) or "none at all"
    raise UserError(f"{what}: weights in no layout we know; their first names: {some}")


def _safetensors(uri: str) -> dict[str, Tensor]:
    path = local_path(uri)
    try:
        return safetensors.torch.load_file(path) if path else safetensors.torch.load(read_bytes(uri))
    except SafetensorError as error:
        raise UserError(f"{uri} is cut off or not a safetensors file: {error}") from error


def _torch(uri: str) -> dict[str, Tensor]:
    path = local_path(uri)
    source: Path | io.BytesIO = path or io.BytesIO(read_bytes(uri))
    start = _start(source)
    if not start.startswith((_ZIP, _PICKLE)):
        raise UserError(f"{uri} is not a torch file")
    try:
        loaded = _unpickled(source, is_zip=start == _ZIP)
    except CallError as error:
        raise UserError(f"{uri} wants to call {error} when it is read, so it is refused") from error
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{uri} holds more than weights (reading it could run code), so it is refused"
        ) from error
    except Exception as error:  # cut-off bytes make the reader raise whatever they lead it to
        if "TorchScript" in str(error):
            raise UserError(
                f"{uri} is a TorchScript program, so it is refused; take the same weights as safetensors"
            ) from error
        raise UserError(f"{uri} is cut off or not a torch file ({type(error).__name__})") from error
    return _state_dict(uri, loaded)


def _state_dict(uri: str, loaded: object) -> dict[str, Tensor]:
    if not isinstance(loaded, dict):
        raise UserError(f"{uri} is not a file of weights: it holds a {type(loaded).__name__}")
    inner = loaded.get("state_dict", loaded)
    if not isinstance(inner, dict):
        raise UserError(f"{uri} is not a file of weights: its state_dict is a {type(inner).__name__}")
    return dict(inner)


def _start(source: Path | io.BytesIO) -> bytes:
    if isinstance(source, Path):
        with source.open("rb") as file:
            return file.read(4)
    start = source.read(4)
    source.seek(0)
    return start


def _unpickled(source: Path | io.BytesIO, is_zip: bool) -> Any:
    """Only tensors and plain values; or those among objects that stay inert."""
    mmap = is_zip and isinstance(source, Path)
    try:
        with warnings.catch_warnings(action="ignore"):  # what torch finds strange is refused, with a sentence
            return torch.load(source, map_location="cpu", mmap=mmap, weights_only=True)
    except pickle.UnpicklingError:
        if not is_zip:
            raise  # torch before 1.6; its reader takes more ways than the unpickler
        if not isinstance(source, Path):
            source.seek(0)
        return load_inert(source)
