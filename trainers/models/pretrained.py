"""An exported model at rest: a folder with config.json, all that is needed to use it, and model.safetensors."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from infra.errors import UserError
from infra.objects import read_bytes
from trainers.inputs import to_input
from trainers.models.weights.files import read_file
from trainers.models.weights.places import files_at
from trainers.pixels import centre, check_sides, cut, resized_size, room
from trainers.plain import from_plain
from trainers.recipe import Model, Pixels

CONFIG_FILE, WEIGHTS_FILE = "config.json", "model.safetensors"
FORMAT, FORMAT_VERSION = "reelscript", 1


@dataclass(frozen=True)
class Usage:
    """What must be known, beside the weights, to embed a film as the evaluation does (TVTSv2, section 13)."""

    model: Model
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
        return to_input(torch.from_numpy(windows)[None], self.model.video.image_size, self.pixels)


def read_pretrained(place: str) -> tuple[Usage, dict[str, Tensor]]:
    """What an exported model says of itself and its weights; `place`: a folder, a URI of one, or a hub id.

    UserError for a place without an export, another format version, or damaged files.
    """
    files = files_at(place, lambda names: _export_among(place, names))
    return _usage(files[CONFIG_FILE]), read_file(files[WEIGHTS_FILE])


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
        if (version := plain.pop("format_version", None)) != FORMAT_VERSION:
            raise UserError(
                f"{uri} is in format version {version}, but this Reelscript reads {FORMAT_VERSION}; "
                "use the version that wrote it, or export the checkpoint again"
            )
        usage = from_plain(Usage, plain)
        check_sides(usage.model.video.image_size, usage.pixels)
        _check_sizes(usage.model, usage.num_frames)
    except ValueError as error:
        raise UserError(f"{uri} does not describe a model: {error}") from error
    return usage


def _check_sizes(model: Model, num_frames: int) -> None:
    if not 0 < num_frames <= model.video.max_frames:
        raise ValueError(f"num_frames is {num_frames}, not between 1 and {model.video.max_frames}")
    widths = {"video": model.video.width, "text": model.text.width, "sorting": model.embedding}
    for name, width in widths.items():
        heads = getattr(model, name).heads
        if heads < 1 or width % heads:
            raise ValueError(f"model.{name}.heads is {heads}, which does not divide the width {width}")


def _resized(frames: UInt8[np.ndarray, "t h w 3"], short_side: int) -> UInt8[np.ndarray, "t tall wide 3"]:
    """Bicubic, antialiased, as such frames are stored for training."""
    height, width = frames.shape[1:3]
    tall, wide = resized_size(height, width, short_side)
    bicubic = Image.Resampling.BICUBIC
    return np.stack([np.asarray(Image.fromarray(frame).resize((wide, tall), bicubic)) for frame in frames])
