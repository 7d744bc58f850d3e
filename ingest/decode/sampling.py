"""Which frames: even slices of the frame numbers (TVTSv2, section 10.1)."""

import numpy as np
from numpy.typing import NDArray


def boundaries(num_frames: int, length: int) -> NDArray[np.int64]:
    """Borders of min(num_frames, length) even slices of `length` frames."""
    return np.linspace(0, length, min(num_frames, length) + 1).astype(np.int64)


def middle_indices(num_frames: int, length: int) -> NDArray[np.int64]:
    """The middle frame of each slice, as at test time; fewer than asked where the video has fewer."""
    borders = boundaries(num_frames, length)
    return (borders[:-1] + borders[1:] - 1) // 2
