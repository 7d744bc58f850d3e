"""Settings that are told apart by their `kind`, and the table of the kinds there are. Nothing here needs torch.

A system, an objective or a protocol of ours is one row of the table. One of a user's own is registered by the recipe
file that names it; its settings bring their row along wherever they are pickled to, so workers know it too. Saved files
name kinds alone, never where code is.
"""

import dataclasses
import difflib
import importlib
from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True)
class Row:
    """Where a kind is: "module:name", loaded when it is asked for; or, of a user's own kind, the thing itself."""

    settings: str | type
    built: Any = None
    """What computes, made in a process that has torch. None: the settings do it themselves."""


_TVTSV2, _OBJECTIVES, _PROTOCOLS = (
    "trainers.systems.tvtsv2",
    "trainers.objectives",
    "trainers.evaluation.protocols",
)
TABLE: dict[str, dict[str, Row]] = {
    "system": {"tvtsv2": Row(f"{_TVTSV2}.settings:TVTSv2", f"{_TVTSV2}.system:SYSTEM")},
    "reads": {"tvtsv2": Row(f"{_TVTSV2}.rows:TVTSv2Reads")},
    "objective": {
        "contrastive": Row(
            f"{_OBJECTIVES}.settings:Contrastive", f"{_OBJECTIVES}.contrastive:ContrastiveLoss"
        ),
        "sorting": Row(f"{_OBJECTIVES}.settings:Sorting", f"{_OBJECTIVES}.sorting:SortingLoss"),
    },
    "protocol": {
        "retrieval": Row(f"{_PROTOCOLS}.retrieval:Retrieval"),
        "sorting": Row(f"{_PROTOCOLS}.sorting:Sorting"),
        "twins": Row(f"{_PROTOCOLS}.twins:Twins"),
        "recognition": Row(f"{_PROTOCOLS}.recognition:Recognition"),
        "drift": Row(f"{_PROTOCOLS}.drift:Drift"),
    },
}
_OURS = {family: frozenset(rows) for family, rows in TABLE.items()}


class Tagged:
    """Frozen settings with a field `kind`, one of a family in the table."""

    family: ClassVar[str]
    kind: str

    @classmethod
    def of_kind(cls, kind: object) -> "type[Any]":
        """The class of this family's settings of a kind. ValueError naming a near one where there is none."""
        rows = TABLE[cls.family]
        if kind not in rows:
            near = difflib.get_close_matches(str(kind), rows, n=1)
            known = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(rows)}"
            raise ValueError(
                f"there is no {cls.family} of kind {kind!r}; {known} (one of your own is registered by its recipe file)"
            )
        found: type[Any] = _loaded(rows[str(kind)].settings)
        return found

    def built(self) -> Any:
        """What the table's row names beside the settings; it may need torch."""
        return _loaded(TABLE[self.family][self.kind].built)

    def __reduce_ex__(self, protocol: Any) -> Any:
        """A setting of a user's own kind registers it where it arrives."""
        if self.kind in _OURS[self.family]:
            return super().__reduce_ex__(protocol)
        row = TABLE[self.family][self.kind]
        return _arrive, (type(self), row.built, dict(vars(self)))


def register(settings: type[Tagged], built: Any = None) -> None:
    """Make a kind of one's own known, in its family; a recipe file does it. ValueError for a kind of ours."""
    kind = str(next(field.default for field in dataclasses.fields(settings) if field.name == "kind"))  # type: ignore[arg-type]
    if kind in _OURS[settings.family]:
        raise ValueError(
            f"{settings.__name__}: the {settings.family} kind {kind!r} is Reelscript's own; take another"
        )
    TABLE[settings.family][kind] = Row(settings, built)


def _arrive(settings: type[Tagged], built: Any, values: dict[str, Any]) -> Tagged:
    register(settings, built)
    arrived = object.__new__(settings)
    arrived.__dict__.update(values)
    return arrived


def _loaded(place: Any) -> Any:
    if not isinstance(place, str):
        return place
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)
