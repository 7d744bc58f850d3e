"""Norms of the gradients: what clipping and the guard against numbers that are not finite go by."""

from collections import defaultdict
from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_

from trainers.ranks import whole


class Gradients:
    """The gradients of the trained parameters, the towers they belong to, and their norms after a backward pass."""

    def __init__(self, named: Iterable[tuple[str, nn.Parameter]], optimizer: torch.optim.Optimizer) -> None:
        """`named`: parameters by names that begin with their tower's, as in video.blocks.0…"""
        self._tower = {parameter: name.partition(".")[0] for name, parameter in named}
        self._trained = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        self._norms: dict[nn.Parameter, Tensor] = {}

    @torch.no_grad()
    def norm(self) -> Float[Tensor, ""]:
        """Of all gradients together; equal on every rank once they are averaged. Waits for nothing on a GPU."""
        used = [parameter for parameter in self._trained if parameter.grad is not None]
        norms = torch._foreach_norm([parameter.grad for parameter in used]) if used else []
        self._norms = dict(zip(used, norms, strict=True))
        return _together(self._norms.values())

    @torch.no_grad()
    def clip(self, norm: Float[Tensor, ""], max_norm: float | None) -> None:
        """Scale all gradients so that their norm, as given, is at most `max_norm`."""
        if max_norm is not None:
            clip_grads_with_norm_(self._norms, max_norm, norm)

    @torch.no_grad()
    def by_tower(self) -> dict[str, Float[Tensor, ""]]:
        """ "grad_norm/video" and so on: the norms that `norm` found, before clipping, put together by tower."""
        towers: dict[str, list[Tensor]] = defaultdict(list)
        for parameter, norm in self._norms.items():
            towers[f"grad_norm/{self._tower[parameter]}"].append(norm)
        return {tower: _together(norms) for tower, norms in towers.items()}


def _together(norms: Iterable[Tensor]) -> Float[Tensor, ""]:
    """The norm of norms; those of sharded gradients are parts until they meet."""
    each = list(norms)
    if not each:
        return torch.zeros(())
    total = torch.linalg.vector_norm(torch.stack(each))
    return whole(total)
