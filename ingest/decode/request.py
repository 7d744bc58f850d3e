"""What a stage asks of the decoding process; apart from the decoders, so that asking loads none of them."""

from dataclasses import dataclass
from typing import Literal

MAX_PIXELS = 64 << 20
"""Pictures with more pixels are set aside before they are decoded."""

DecoderName = Literal["auto", "decord", "pyav", "torchcodec"]
Resize = Literal["nearest", "bicubic"]
Encoding = Literal["jpeg", "ppm"]
"""How a frame leaves the decoding process: packed with losses, or as it is."""


@dataclass(frozen=True)
class FrameRequest:
    """Candidate frames of one window: how many, how large, how well kept, by which decoder."""

    start_s: float
    end_s: float
    count: int
    short_side: int
    quality: int
    decoder: DecoderName
    resize: Resize = "nearest"
    encoding: Encoding = "jpeg"
    times_s: tuple[float, ...] = ()
    """The frames shown at these times (rising), instead of the candidates of the window."""
