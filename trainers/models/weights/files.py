"""Weights from files: safetensors, or torch files without any code in them; which layout they are in."""

import io
import pickle
from collections.abc import Mapping

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from torch import Tensor

from infra.errors import UserError
from infra.objects import read_bytes
from trainers.models.video_text import VideoTextModel
from trainers.models.weights import clip, openclip, tvtsv2
from trainers.models.weights.names import check


def read_weights(uri: str) -> dict[str, Tensor]:
    """The tensors of a .safetensors file or of a torch file (its `state_dict` where it has one), by name.

    UserError for a file that is cut off, is something else, or wants to run code when read.
    """
    payload = read_bytes(uri)
    entries = _safetensors(uri, payload) if uri.endswith(".safetensors") else _torch(uri, payload)
    if strange := [name for name, value in entries.items() if not isinstance(value, Tensor)]:
        raise UserError(f"{uri} is not a file of weights: {strange[0]!r} is no tensor")
    return entries


def load_start(model: VideoTextModel, entries: Mapping[str, Tensor]) -> str:
    """Copy weights of any layout we know into the model; returns the layout's name.

    What the layout does not cover keeps its start. UserError names what is missing, extra or misshapen.
    """
    names = {name.removeprefix("module.") for name in entries}
    if "video.patch_embedding.weight" in names:
        check(entries, model.state_dict(), "the checkpoint")
        model.load_state_dict(dict(entries))
        return "reelscript"
    if "video_model.conv1.weight" in names:
        tvtsv2.load(model, entries, sorting_head=any(name.startswith("pred_model.") for name in names))
        return "tvtsv2"
    if "vision_model.embeddings.class_embedding" in names:
        clip.load(model, entries)
        return "clip"
    if "visual.class_embedding" in names:
        openclip.load(model, entries)
        return "openclip"
    some = ", ".join(sorted(names)[:3]) or "none at all"
    raise UserError(f"these weights are in no layout we know; their first names: {some}")


def _safetensors(uri: str, payload: bytes) -> dict[str, Tensor]:
    try:
        return load_safetensors(payload)
    except SafetensorError as error:
        raise UserError(f"{uri} is cut off or not a safetensors file: {error}") from error


def _torch(uri: str, payload: bytes) -> dict[str, Tensor]:
    if not payload.startswith((b"PK\x03\x04", b"\x80")):  # a zip archive, or a bare pickle
        raise UserError(f"{uri} is not a torch file")
    try:
        loaded = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{uri} holds more than weights (reading it could run code), so it is refused"
        ) from error
    except Exception as error:  # cut-off bytes make the reader raise whatever they lead it to
        raise UserError(f"{uri} is cut off or not a torch file") from error
    if not isinstance(loaded, dict):
        raise UserError(f"{uri} is not a file of weights: it holds a {type(loaded).__name__}")
    inner = loaded.get("state_dict", loaded)
    return dict(inner)
