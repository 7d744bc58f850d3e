"""Random numbers that do not depend on who draws them: in data workers by clip and epoch, on the device by step."""

import hashlib
from dataclasses import dataclass

import numpy as np

from ingest.records import stable_uid


def source(seed: int, uid: str, epoch: int, kind: int) -> np.random.Generator:
    """The random numbers of one clip in one epoch; each kind of draw has its own (more frames change no mask)."""
    return np.random.default_rng((int(stable_uid(seed, uid, epoch), 16), kind))


@dataclass(frozen=True)
class Draws:
    """The random choices for one clip in one epoch. Frames are drawn with kind 0 and the window with kind 1; a system
    takes kinds from 2 on."""

    seed: int
    uid: str
    epoch: int

    def source(self, kind: int) -> np.random.Generator:
        """The numbers of one kind of draw, from their beginning."""
        return source(self.seed, self.uid, self.epoch, kind)


def mixed(*parts: int | str) -> int:
    """A seed of 63 bits that follows from its parts."""
    digest = hashlib.blake2b("\x1f".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1
