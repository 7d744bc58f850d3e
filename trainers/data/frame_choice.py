"""Which of a clip's candidate frames a step sees. Light to import: whatever reads clips asks it."""

import itertools
from dataclasses import dataclass

import numpy as np

from trainers.draws import source


@dataclass(frozen=True)
class FrameChoice:
    """One frame from each of `frames` equal slices of the candidates, decided by (seed, uid, epoch)."""

    frames: int
    seed: int
    training: bool = True
    """False: the middle frame of each slice."""

    def __call__(self, uid: str, epoch: int, num_candidates: int) -> list[int]:
        """Numbers of the frames, in the order of time."""
        slices = slice_bounds(num_candidates, self.frames)
        if not self.training:
            return [(first + last) // 2 for first, last in slices]
        draw = source(self.seed, uid, epoch, 0)
        return [int(draw.integers(first, last + 1)) for first, last in slices]


def slice_bounds(num_stored: int, num_frames: int) -> list[tuple[int, int]]:
    """First and last candidate of each of `num_frames` equal slices (TVTSv2, 10.1); too few repeat.

    The reference never takes the last frame of a slice; here candidates are few, and all of them take part.
    """
    bounds = np.linspace(0, num_stored, num_frames + 1).astype(int).tolist()
    return [(low, max(low, high - 1)) for low, high in itertools.pairwise(bounds) if low < num_stored]
