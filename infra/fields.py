"""Fields of nested settings by their names as on the command line, "stages.1.optimizer.rates.rest.lr"."""

import dataclasses
import difflib
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from itertools import dropwhile
from typing import Any, TypeGuard, TypeVar

Settings = TypeVar("Settings")


def with_fields(settings: Settings, values: Mapping[str, object], where: str) -> Settings:
    """The settings with these fields changed. ValueError naming `where`, the field and a near match."""
    for name, value in values.items():
        settings = _replaced(settings, Any, path_of(name), value, f"{where}: {name}", settings)
    return settings


def path_of(name: str) -> list[str]:
    """The names from the outermost settings to a field; flags may have dashes in them."""
    return name.replace("-", "_").split(".")


def field_names(settings: object, prefix: str = "") -> list[str]:
    """The names of all fields that hold a plain value."""
    found: list[str] = []
    for name, value in _parts(settings).items():
        found += field_names(value, f"{prefix}{name}.") if _parts(value) else [prefix + name]
    return found


def short_names(names: Iterable[str]) -> dict[str, str]:
    """Names by their last three parts without leading indices, "frozen_below.text"; by more where two are alike."""
    paths = {name: path_of(name) for name in names}
    parts = 3
    while True:
        short = {name: ".".join(dropwhile(str.isdigit, path[-parts:])) for name, path in paths.items()}
        if len(set(short.values())) == len(short) or parts >= max(map(len, paths.values()), default=0):
            return short
        parts += 1


def _replaced(owner: Any, hint: Any, names: Sequence[str], value: object, what: str, whole: object) -> Any:
    """`hint`: the annotated type of the owner."""
    parts, (first, *rest) = _parts(owner), names
    key = next((part for part in parts if part.replace("-", "_") == first), None)
    if key is None:
        wrong = what.rpartition(": ")[2]
        near = difflib.get_close_matches(wrong.replace("-", "_"), field_names(whole), n=1, cutoff=0.5)
        raise ValueError(f"{what} is no field of the recipe" + (f"; did you mean {near[0]}?" if near else ""))
    old, inner = parts[key], _hint_of(owner, hint, key)
    new = _replaced(old, inner, rest, value, what, whole) if rest else _fitting(inner, old, value, what)
    if dataclasses.is_dataclass(owner) and not isinstance(owner, type):
        return dataclasses.replace(owner, **{key: new})
    changed = parts | {key: new}
    return changed if isinstance(owner, dict) else tuple(changed.values())


def _parts(value: object) -> dict[str, Any]:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, tuple) and any(map(dataclasses.is_dataclass, value)):
        return {str(index): item for index, item in enumerate(value)}
    return dict(value) if isinstance(value, dict) else {}


def _hint_of(owner: object, hint: Any, name: str) -> Any:
    """The annotated type of a part: a field of settings, or a value of a mapping."""
    if dataclasses.is_dataclass(owner):
        return typing.get_type_hints(type(owner))[name]
    arguments = typing.get_args(hint)
    return arguments[1] if typing.get_origin(hint) is dict else Any


def _fitting(hint: Any, old: object, value: object, what: str) -> object:
    """The value as the field takes it: whole numbers where it counts, one of the words where it is a word."""
    if _parts(old) or isinstance(old, tuple | dict):
        raise ValueError(f"{what} is no single value; name one of its fields")
    options = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
    if value is None and types.NoneType in options:
        return value
    kinds = [option for option in options if option is not types.NoneType]
    kind = kinds[0] if len(kinds) == 1 else Any
    if typing.get_origin(kind) is typing.Literal and value not in typing.get_args(kind):
        raise ValueError(f"{what} cannot be {value!r}; one of {', '.join(map(str, typing.get_args(kind)))}")
    if kind is bool and not isinstance(value, bool):
        raise ValueError(f"{what} cannot be {value!r}; it is true or false")
    if kind not in (int, float):
        return value
    if not is_number(value):
        raise ValueError(f"{what} cannot be {value!r}; it is a number")
    return round(value) if kind is int else float(value)


def is_number(value: object) -> TypeGuard[int | float]:
    """Whether a value lies on an axis; true and false do not."""
    return isinstance(value, int | float) and not isinstance(value, bool)
