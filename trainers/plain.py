"""Dataclasses from plain values: what `dataclasses.asdict` and JSON make of them, and back."""

import dataclasses
import types
import typing
from typing import Any, TypeVar

T = TypeVar("T")

_NUMBERS: dict[Any, tuple[type, ...]] = {int: (int,), float: (int, float)}


def from_plain(kind: type[T], plain: Any) -> T:
    """A dataclass from what `dataclasses.asdict` and JSON made of it; absent fields take their defaults.

    ValueError naming a field that is unknown, missing, or of another type.
    """
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    if not isinstance(plain, dict):
        raise ValueError(f"{kind.__name__} is {plain!r}, not a mapping of fields")
    if unknown := sorted(plain.keys() - fields.keys()):
        raise ValueError(f"{kind.__name__} has no field {unknown[0]!r}")
    if missing := [name for name in fields if name not in plain and _is_required(fields[name])]:
        raise ValueError(f"{kind.__name__} lacks its field {missing[0]!r}")
    hints = typing.get_type_hints(kind)
    return kind(**{name: _value(hints[name], value, name) for name, value in plain.items()})


def _is_required(field: "dataclasses.Field[Any]") -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _value(hint: Any, plain: Any, name: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if plain is None or type(plain) in arguments:
            return plain
        return _value(next(part for part in arguments if part is not type(None)), plain, name)
    if dataclasses.is_dataclass(hint):
        return from_plain(typing.cast(type[Any], hint), plain)
    if origin is tuple and isinstance(plain, list):
        return tuple(_value(arguments[0], item, name) for item in plain)
    _check(hint, origin, arguments, plain, name)
    return plain


def _check(hint: Any, origin: Any, arguments: tuple[Any, ...], plain: Any, name: str) -> None:
    if origin is typing.Literal:
        fits = plain in arguments
    elif hint in _NUMBERS:  # a truth value counts as a number only in Python
        fits = isinstance(plain, _NUMBERS[hint]) and not isinstance(plain, bool)
    else:
        fits = isinstance(plain, origin or hint)
    if not fits:
        expected = f"one of {', '.join(map(repr, arguments))}" if origin is typing.Literal else hint
        raise ValueError(f"{name} is {plain!r}, not {getattr(expected, '__name__', expected)}")
