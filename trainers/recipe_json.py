"""Dataclasses from plain values: what `dataclasses.asdict` and JSON make of them, and back."""

import dataclasses
import types
import typing
from typing import Any, TypeVar

from trainers.kinds import Tagged

T = TypeVar("T")

_NUMBERS: dict[Any, tuple[type, ...]] = {int: (int,), float: (int, float)}


def from_values(kind: type[T], values: Any) -> T:
    """A dataclass from what `dataclasses.asdict` and JSON made of it; absent fields take their defaults.

    Settings of an open family (`Tagged`) and of a union are told apart by their "kind". ValueError naming a field that
    is unknown, missing, or of another type, and a kind that there is not.
    """
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    if not isinstance(values, dict):
        raise ValueError(f"{kind.__name__} is {values!r}, not a mapping of fields")
    if unknown := sorted(values.keys() - fields.keys()):
        raise ValueError(f"{kind.__name__} has no field {unknown[0]!r}")
    if missing := [name for name in fields if name not in values and _is_required(fields[name])]:
        raise ValueError(f"{kind.__name__} lacks its field {missing[0]!r}")
    hints = typing.get_type_hints(kind)
    return kind(**{name: _value(hints[name], value, name) for name, value in values.items()})


def _is_required(field: "dataclasses.Field[Any]") -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _value(hint: Any, values: Any, name: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return _of_union(arguments, values, name)
    if dataclasses.is_dataclass(hint):
        return from_values(_kind_of(typing.cast(type[Any], hint), values, name), values)
    if origin is tuple and isinstance(values, list):
        each = (
            (arguments[0],) * len(values) if len(arguments) == 2 and arguments[1] is Ellipsis else arguments
        )
        return tuple(_value(part, item, name) for part, item in zip(each, values, strict=False))
    if origin is dict and isinstance(values, dict):
        return {key: _value(arguments[1], value, f"{name}.{key}") for key, value in values.items()}
    _check(hint, origin, arguments, values, name)
    return values


def _of_union(arguments: tuple[Any, ...], values: Any, name: str) -> Any:
    if values is None or type(values) in arguments:
        return values
    records: list[Any] = [part for part in arguments if dataclasses.is_dataclass(part)]
    if len(records) < 2:
        return _value(next(part for part in arguments if part is not type(None)), values, name)
    wanted = values.get("kind") if isinstance(values, dict) else None
    kinds = {_default_kind(part): part for part in records}
    if wanted not in kinds:
        raise ValueError(f"{name} is of kind {wanted!r}, not one of {', '.join(map(repr, kinds))}")
    return from_values(kinds[wanted], values)


def _default_kind(record: Any) -> Any:
    return next(field.default for field in dataclasses.fields(record) if field.name == "kind")


def _kind_of(hint: type[Any], values: Any, name: str) -> type[Any]:
    if not issubclass(hint, Tagged):
        return hint
    if not isinstance(values, dict) or "kind" not in values:
        raise ValueError(f"{name} is {values!r}, not a mapping with a kind")
    return hint.of_kind(values["kind"])


def _check(hint: Any, origin: Any, arguments: tuple[Any, ...], values: Any, name: str) -> None:
    if origin is typing.Literal:
        fits = values in arguments
    elif hint in _NUMBERS:  # a truth value counts as a number only in Python
        fits = isinstance(values, _NUMBERS[hint]) and not isinstance(values, bool)
    else:
        fits = isinstance(values, origin or hint)
    if not fits:
        expected = f"one of {', '.join(map(repr, arguments))}" if origin is typing.Literal else hint
        raise ValueError(f"{name} is {values!r}, not {getattr(expected, '__name__', expected)}")
