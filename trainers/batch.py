"""What a training step reads: one batch of clips, as tensors."""

from dataclasses import dataclass, fields, replace

import torch
from jaxtyping import Bool, Int, Int64, UInt8
from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """A batch of clips; every field's first axis counts them."""

    frames: UInt8[Tensor, "b t crop crop 3"]
    """RGB windows of the stored frames; scaled and normalised on the training device."""
    tokens: Int64[Tensor, "b k context"]
    """K texts per clip, start and end token included, zero padded. `trim_padding` may have shortened them."""
    keep: Int64[Tensor, "b n"]
    """Patch positions kept in every frame of a clip, in the order their tokens take (TVTSv2, section 4)."""
    valid: Bool[Tensor, " b"]
    """False: the row could not be read; it keeps its place and takes no part in any loss."""
    position: Int64[Tensor, " b"]
    """Number of the row in the stream's plan."""
    uids: UInt8[Tensor, "b 2 10"]
    """Uids of the clip and of its medium as bytes, zeros where the row could not be read; they stay in host memory."""

    def to(self, device: torch.device | str) -> "Batch":
        """The same batch on a device (asynchronously from pinned memory)."""
        moved = [f.name for f in fields(self) if f.name != "uids"]
        return replace(self, **{name: getattr(self, name).to(device, non_blocking=True) for name in moved})


def trim_padding(tokens: Int[Tensor, "*texts context"], multiple: int = 4) -> Int[Tensor, "*texts shorter"]:
    """Drop the columns that are padding in every text, down to a multiple of a few.

    Exact: the text tower is causal and reads the end token, so padding behind it is never seen (TVTSv2,
    section 5). Call it in the data workers: on CUDA the length would have to be waited for.
    """
    longest = int(tokens.flatten(0, -2).argmax(dim=-1).max()) + 1
    return tokens[..., : -(-longest // multiple) * multiple]
