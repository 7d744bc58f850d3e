"""Which patches of a clip are kept while it is masked (TVTSv2, section 4)."""

import numpy as np
from jaxtyping import Int64


def num_kept(num_patches: int, mask_ratio: float) -> int:
    """Patches kept per frame, rounded down in double precision as published: 256 at 0.7 gives 76."""
    return int(num_patches * (1 - mask_ratio))


def draw_keep(num_patches: int, mask_ratio: float, draw: np.random.Generator) -> Int64[np.ndarray, " n"]:
    """Kept patch positions of one clip: the start of a random permutation, not sorted."""
    return draw.permutation(num_patches)[: num_kept(num_patches, mask_ratio)]
