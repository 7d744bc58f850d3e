"""Fields of nested settings by their names as on the command line, "stages.1.optimizer.lr_rest"."""

import dataclasses
import difflib
import typing
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

Settings = TypeVar("Settings")


def with_fields(settings: Settings, values: Mapping[str, object], where: str) -> Settings:
    """The settings with these fields changed. ValueError naming `where`, the field and a near match."""
    for name, value in values.items():
        settings = _replaced(settings, name.replace("-", "_").split("."), value, f"{where}: {name}", settings)
    return settings


def field_names(settings: object, prefix: str = "") -> list[str]:
    """The names of all fields that hold a plain value."""
    found: list[str] = []
    for name, value in _parts(settings).items():
        found += field_names(value, f"{prefix}{name}.") if _parts(value) else [prefix + name]
    return found


def _replaced(owner: Any, names: Sequence[str], value: object, what: str, whole: object) -> Any:
    parts, (first, *rest) = _parts(owner), names
    if first not in parts:
        wrong = what.rpartition(": ")[2]
        near = difflib.get_close_matches(wrong.replace("-", "_"), field_names(whole), n=1, cutoff=0.5)
        raise ValueError(f"{what} is no field of the recipe" + (f"; did you mean {near[0]}?" if near else ""))
    old = parts[first]
    new = _replaced(old, rest, value, what, whole) if rest else _fitting(owner, first, old, value, what)
    if dataclasses.is_dataclass(owner) and not isinstance(owner, type):
        return dataclasses.replace(owner, **{first: new})
    changed = parts | {first: new}
    return changed if isinstance(owner, dict) else tuple(changed.values())


def _parts(value: object) -> dict[str, Any]:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, tuple) and any(map(dataclasses.is_dataclass, value)):
        return {str(index): item for index, item in enumerate(value)}
    return dict(value) if isinstance(value, dict) else {}


def _fitting(owner: object, name: str, old: object, value: object, what: str) -> object:
    """The value as the field takes it: whole numbers where it counts, one of the words where it is a word."""
    if _parts(old) or isinstance(old, tuple):
        raise ValueError(f"{what} is no single value; name one of its fields")
    hint = typing.get_type_hints(type(owner)).get(name) if dataclasses.is_dataclass(owner) else None
    if typing.get_origin(hint) is typing.Literal and value not in typing.get_args(hint):
        raise ValueError(f"{what} cannot be {value!r}; one of {', '.join(map(str, typing.get_args(hint)))}")
    if hint in (int, float) and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise ValueError(f"{what} cannot be {value!r}; it is a number")
    if hint is bool and not isinstance(value, bool):
        raise ValueError(f"{what} cannot be {value!r}; it is true or false")
    return round(value) if hint is int and isinstance(value, float) else value
