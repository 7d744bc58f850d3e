"""What systems and objectives say of themselves without torch: sizes, what becomes of a row of clips, names."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from trainers.draws import Draws
from trainers.kinds import Tagged


@dataclass(frozen=True)
class Watched:
    """A number that the system measures now and then while it trains (`System.probe`), as a picture shows it."""

    name: str
    title: str
    scale: float = 1.0
    """From the number to what is shown; 100 makes percent of a share."""
    note: str = ""
    """A few words on what it is, below the picture."""


@dataclass(frozen=True)
class SystemSettings(Tagged):
    """Sizes of a system. A subclass gives `kind` a Literal type and a default, and overrides what it has to say."""

    family: ClassVar[str] = "system"
    watched: ClassVar[tuple[Watched, ...]] = ()
    parts: ClassVar[Mapping[str, str]] = {}
    """First parts of parameter names, each with its words for people, in order."""

    @property
    def image_size(self) -> int:
        """Side in pixels of the frames that the model reads."""
        raise NotImplementedError

    @property
    def towers(self) -> Mapping[str, int]:
        """Towers that can be frozen from below, by first part of their parameter names, and their blocks."""
        return {}

    def check(self, num_frames: int) -> None:
        """ValueError for sizes that no model can have, or where clips of so many frames do not fit."""


@runtime_checkable
class RowReader(Protocol):
    """What a system reads of a row beside its frames: made by `Reads.reader`, run by data workers."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of a clip that it reads, beside uid, media_uid and kind."""
        ...

    def read(self, row: Mapping[str, Any], draws: Draws | None) -> Any:
        """A row's inputs, in whatever form; None where the row has not what is needed. ValueError where the recipe
        does not fit the store. `draws`: None in evaluation, where nothing is drawn."""
        ...

    def unreadable(self, draws: Draws | None) -> Any:
        """What stands in the place of a row that cannot be read; it takes no part in any loss."""
        ...

    def stack(self, rows: Sequence[Any]) -> dict[str, NDArray[np.generic]]:
        """The inputs of a block of rows as arrays whose first axis counts the rows, by names of the system's own."""
        ...


@dataclass(frozen=True)
class Reads(Tagged):
    """What a system reads of the rows of one stream, beside the frames: texts, masks, labels, augmentation."""

    family: ClassVar[str] = "reads"

    def reader(self, system: Any) -> RowReader:
        """What reads the rows for a system of these sizes."""
        raise NotImplementedError


@dataclass(frozen=True)
class ObjectiveSettings(Tagged):
    """One objective of a stage. A subclass gives `kind` a Literal type and a default; streams weigh it by `name`."""

    family: ClassVar[str] = "objective"
    unit: ClassVar[Literal["row", "unit", "batch"]] = "row"
    """The least that it can be computed of by itself: parts of a batch hold whole ones; "batch" allows no parts."""

    @property
    def name(self) -> str:
        """What streams, losses and states call it."""
        return self.kind

    def chance(self, system: Any, stream: Any) -> float | None:
        """Its value for a model that knows nothing; None: not known."""
        return None
