"""Windows of frames -> the video tower's input, on the training device (TVTSv2, 10.2)."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

from trainers.recipe import Pixels


def to_input(
    windows: UInt8[Tensor, "b t crop crop 3"], side: int, config: Pixels
) -> Float[Tensor, "b t 3 side side"]:
    """Windows to what a tower with frames of `side` pixels reads: resized where their side differs (bicubic,
    antialiased), scaled to [0, 1], normalised."""
    scale = torch.tensor(config.std, device=windows.device)[:, None, None]
    shift = torch.tensor(config.mean, device=windows.device)[:, None, None]
    return to_unit(windows, side, config).sub_(shift).div_(scale)


def to_unit(
    windows: UInt8[Tensor, "b t crop crop 3"], side: int, config: Pixels
) -> Float[Tensor, "b t 3 side side"]:
    """The same before they are normalised: in [0, 1], as teachers read them."""
    floats = windows.permute(0, 1, 4, 2, 3).to(torch.float32, memory_format=torch.contiguous_format)
    if config.crop != side:
        flat = F.interpolate(floats.flatten(0, 1), (side, side), mode="bicubic", antialias=True)
        floats = flat.clamp_(0, 255).unflatten(0, floats.shape[:2])  # a cubic overshoots beside edges
    return floats.div_(255)
