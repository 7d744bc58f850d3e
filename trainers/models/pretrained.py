"""An exported model at rest: a folder with config.json, all that is needed to use it, and model.safetensors."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor, nn

from infra.errors import UserError
from infra.objects import read_bytes
from trainers.data.inputs import to_input
from trainers.data.pixels import centre, check_sides, cut, resized_size, room
from trainers.models.weights.files import read_file
from trainers.models.weights.names import fill
from trainers.models.weights.places import files_at
from trainers.older_recipes import current_usage
from trainers.recipe import Pixels
from trainers.recipe_json import from_values
from trainers.system_settings import SystemSettings

CONFIG_FILE, WEIGHTS_FILE = "config.json", "model.safetensors"
FORMAT, FORMAT_VERSION = "reelscript", 2


@dataclass(frozen=True)
class Usage:
    """What must be known, beside the weights, to embed a film as the evaluation does (TVTSv2, section 13)."""

    system: SystemSettings
    pixels: Pixels
    num_frames: int
    """Frames of a film: the middle ones of as many equal slices."""

    def to_json(self) -> str:
        """config.json."""
        plain = {"format": FORMAT, "format_version": FORMAT_VERSION, **asdict(self)}
        return json.dumps(plain, indent=2) + "\n"

    def to_input(self, frames: UInt8[np.ndarray, "t h w 3"]) -> Float[Tensor, "1 t 3 side side"]:
        """RGB frames of any size as the video tower reads them: resized, the centre cut, normalised (10.2, 13)."""
        if self.pixels.resize == "bicubic":
            frames = _resized(frames, self.pixels.short_side)
        height, width = frames.shape[1:3]
        corner = centre(room(height, width, self.pixels))
        windows = np.stack([cut(frame, corner, self.pixels) for frame in frames])
        return to_input(torch.from_numpy(windows)[None], self.system.image_size, self.pixels)


def load_pretrained(place: str) -> tuple[nn.Module, Usage]:
    """An exported model with its weights, ready to embed, and how it is used; `place`: a folder, a URI of one, or a hub
    id.

    UserError for a place without an export, another format version, weights that do not fit its config, or damaged
    files.
    """
    files = files_at(place, lambda names: _export_among(place, names))
    usage = _usage(files[CONFIG_FILE])
    try:
        model: nn.Module = usage.system.built().build(usage.system)
    except (RuntimeError, ArithmeticError) as error:  # sizes that torch cannot make
        raise UserError(f"{place}: its config.json does not describe a model ({error})") from error
    fill(model, read_file(files[WEIGHTS_FILE]), place, usage.system.built().exported)
    return model.eval(), usage


def _export_among(place: str, names: Sequence[str]) -> list[str]:
    wanted = [CONFIG_FILE, WEIGHTS_FILE]
    if missing := [name for name in wanted if name not in names]:
        raise UserError(
            f"{place} is no exported model, {' and '.join(missing)} missing; `reelscript export` makes one"
        )
    return wanted


def _usage(uri: str) -> Usage:
    try:
        plain = json.loads(read_bytes(uri))
        if not isinstance(plain, dict) or plain.pop("format", None) != FORMAT:
            raise UserError(f"{uri} is not the config of a Reelscript export: it has no format {FORMAT!r}")
        version = plain.pop("format_version", None)
        if version not in (1, FORMAT_VERSION):
            raise UserError(
                f"{uri} is in format version {version}, but this Reelscript reads {FORMAT_VERSION}; "
                "use the version that wrote it, or export the checkpoint again"
            )
        usage = from_values(Usage, plain if version == FORMAT_VERSION else current_usage(plain))
        check_sides(usage.system.image_size, usage.pixels)
        usage.system.check(usage.num_frames)
    except ValueError as error:
        raise UserError(f"{uri} does not describe a model: {error}") from error
    return usage


def _resized(frames: UInt8[np.ndarray, "t h w 3"], short_side: int) -> UInt8[np.ndarray, "t tall wide 3"]:
    """Bicubic, antialiased, as such frames are stored for training."""
    height, width = frames.shape[1:3]
    tall, wide = resized_size(height, width, short_side)
    bicubic = Image.Resampling.BICUBIC
    return np.stack([np.asarray(Image.fromarray(frame).resize((wide, tall), bicubic)) for frame in frames])
