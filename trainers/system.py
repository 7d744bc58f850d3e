"""What a system computes: the torch side of its settings, as a record of functions."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from trainers.data.batch import Batch

Start = Callable[[Any, Any, Mapping[str, Tensor], str], frozenset[str]]
"""(model, settings, weights in a public layout, what they are called) -> copies them into the model and returns the
names of the parameters that they covered; what is not covered keeps its fresh start, or begins from what is. UserError
for a layout that is not known, and naming what is missing, extra or misshapen."""


@dataclass(frozen=True)
class Card:
    """What a model card says of a system's models, beside what every card says."""

    about: str
    """A sentence or two."""
    use: str = ""
    """Lines of Python that use an export."""
    tags: tuple[str, ...] = ()
    caveat: str = ""
    """What else a reader must know of evaluations."""


@dataclass(frozen=True)
class Files:
    """An export for others, in a layout that is not ours."""

    make: Callable[[Any], dict[str, bytes]]
    """(model) -> file name -> content."""
    use: str
    """What the model card says of it, as Markdown."""
    names: tuple[str, ...] = ("*",)
    """Shell patterns of the names of weights that are in it."""


@dataclass(frozen=True)
class Product:
    """One matrix product: rows by a weight, or (no name) an attention's two between activations."""

    flops: float
    weight: str | None = None


@dataclass(frozen=True)
class Chain:
    """Products in the order in which they are computed; the gradient comes back to the first that is trained."""

    products: tuple[Product, ...]
    has_gradient: bool
    """False: no objective of the stream sends a gradient into it."""
    gradient_leaves: bool = False
    """True: what it reads needs a gradient."""


@dataclass(frozen=True)
class System:
    """One system. What is None or empty it does not have, and nobody asks which system it is."""

    build: Callable[[Any], nn.Module]
    """(settings) -> the model, its weights whatever they are: they are filled in afterwards."""
    fresh: Callable[[Any, int], nn.Module]
    """(settings, seed) -> the model with fresh weights, decided by the seed."""
    inputs: Callable[[Mapping[str, Tensor]], Any]
    """The arrays that `RowReader.stack` made, as tensors in host memory -> the `inputs` of a batch: a frozen dataclass
    of tensors. Padding that no clip needs is cut off here."""
    encode: Callable[[Any, Any, Batch, Tensor], Any]
    """(model, stream, batch, pixels [b, t, 3, side, side]) -> what the objectives of a stream share, once a batch."""
    start: Start | None = None
    """From start weights in public layouts. Our own (checkpoints and exports) needs no words."""
    start_parts: Mapping[str, Start] = field(default_factory=dict)
    """The same for single parts of the model, by first part of parameter names."""
    files: Mapping[str, Files] = field(default_factory=dict)
    """Exports for others beside our own, by the name of the layout."""
    card: Callable[[Any, int], Card] | None = None
    """(settings, frames of a film) -> what a model card says."""
    exported: tuple[str, ...] = ("*",)
    """Shell patterns of the names of weights that belong into an export."""
    probe: Callable[[Any, Any, Batch, Tensor], dict[str, Tensor]] | None = None
    """(model, stream, batch of one clip, pixels) -> numbers that are watched now and then; it costs a pass."""
    note: Callable[[Any, Batch], dict[str, Tensor]] | None = None
    """(settings, batch) -> numbers of every batch, of which means are logged; nearly free."""
    chains: Callable[..., list[Chain]] | None = None
    """(settings, stage, stream, names that are trained) -> the matrix products of a clip; None: nobody counts."""
