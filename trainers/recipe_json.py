"""Dataclasses from plain values: what `dataclasses.asdict` and JSON make of them, and back."""

import dataclasses
import types
import typing
from typing import Any, TypeVar

from trainers.kinds import Tagged

T = TypeVar("T")

_NUMBERS: dict[Any, tuple[type, ...]] = {int: (int,), float: (int, float)}


def from_plain(kind: type[T], plain: Any) -> T:
    """A dataclass from what `dataclasses.asdict` and JSON made of it; absent fields take their defaults.

    Settings of an open family (`Tagged`) and of a union are told apart by their "kind". ValueError naming a field that
    is unknown, missing, or of another type, and a kind that there is not.
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
        return _of_union(arguments, plain, name)
    if dataclasses.is_dataclass(hint):
        return from_plain(_kind_of(typing.cast(type[Any], hint), plain, name), plain)
    if origin is tuple and isinstance(plain, list):
        each = (arguments[0],) * len(plain) if len(arguments) == 2 and arguments[1] is Ellipsis else arguments
        return tuple(_value(part, item, name) for part, item in zip(each, plain, strict=False))
    if origin is dict and isinstance(plain, dict):
        return {key: _value(arguments[1], value, f"{name}.{key}") for key, value in plain.items()}
    _check(hint, origin, arguments, plain, name)
    return plain


def _of_union(arguments: tuple[Any, ...], plain: Any, name: str) -> Any:
    if plain is None or type(plain) in arguments:
        return plain
    records: list[Any] = [part for part in arguments if dataclasses.is_dataclass(part)]
    if len(records) < 2:
        return _value(next(part for part in arguments if part is not type(None)), plain, name)
    wanted = plain.get("kind") if isinstance(plain, dict) else None
    kinds = {_default_kind(part): part for part in records}
    if wanted not in kinds:
        raise ValueError(f"{name} is of kind {wanted!r}, not one of {', '.join(map(repr, kinds))}")
    return from_plain(kinds[wanted], plain)


def _default_kind(record: Any) -> Any:
    return next(field.default for field in dataclasses.fields(record) if field.name == "kind")


def _kind_of(hint: type[Any], plain: Any, name: str) -> type[Any]:
    if not issubclass(hint, Tagged):
        return hint
    if not isinstance(plain, dict) or "kind" not in plain:
        raise ValueError(f"{name} is {plain!r}, not a mapping with a kind")
    return hint.of_kind(plain["kind"])


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
