"""A recipe as a Python file that the command line takes: `reelscript train FILE:recipe`."""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping

from pipeline.recipe import Recipe
from pipeline.recipes.resolve import file_of

FUNCTION = "recipe"
WIDTH = 100

Names = Mapping[type, str]
"""What the file calls the classes in it."""


def as_file(recipe: Recipe, title: str) -> bytes:
    """The recipe with every field written out, below a line that says what it is.

    Classes of a recipe file of the user's own, which cannot be imported, are loaded from that file.
    """
    names = _names({type(part) for part in _dataclasses(recipe)})
    imports = _imports({kind: name for kind, name in names.items() if file_of(kind) is None})
    loaded = [
        f"{name} = kind_from({file!r}, {kind.__name__!r})"
        for kind, name in names.items()
        if (file := file_of(kind))
    ]
    if loaded:
        imports.append("from pipeline.recipes.resolve import kind_from")
    head = "\n\n".join("\n".join(sorted(lines)) for lines in (imports, loaded) if lines)
    body = f"def {FUNCTION}() -> Recipe:\n    return {_written(recipe, names, 4)}"
    return f'"""{title}"""\n\n{head}\n\n\n{body}\n'.encode()


def _names(kinds: Iterable[type]) -> dict[type, str]:
    """Their own names; with a number where two classes have the same."""
    names: dict[type, str] = {}
    for kind in sorted(kinds, key=lambda kind: (kind.__module__, kind.__name__)):
        alike = sum(other.__name__ == kind.__name__ for other in names)
        names[kind] = f"{kind.__name__}{alike + 1 if alike else ''}"
    return names


def _imports(names: Names) -> list[str]:
    found: dict[str, list[str]] = {}
    for kind, name in names.items():
        renamed = "" if name == kind.__name__ else f" as {name}"
        found.setdefault(kind.__module__, []).append(kind.__name__ + renamed)
    return [f"from {module} import {', '.join(own)}" for module, own in found.items()]


def _written(value: object, names: Names, indent: int) -> str:
    """A value as Python, in one line where that is short, else a line for each part, indented by so many spaces."""
    opening, closing = "(", ")"
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        opening = f"{names[type(value)]}("
        parts = [(f"{field.name}=", getattr(value, field.name)) for field in dataclasses.fields(value)]
    elif isinstance(value, dict):
        opening, parts, closing = "{", [(f"{key!r}: ", item) for key, item in value.items()], "}"
    elif isinstance(value, tuple):
        parts = [("", item) for item in value]
    else:
        return repr(value)
    inner = [label + _written(item, names, indent + 4) for label, item in parts]
    line = (
        opening + ", ".join(inner) + ("," if isinstance(value, tuple) and len(inner) == 1 else "") + closing
    )
    if len(line) + indent <= WIDTH and "\n" not in line:
        return line
    return (
        opening + "".join(f"\n{' ' * (indent + 4)}{part}," for part in inner) + f"\n{' ' * indent}{closing}"
    )


def _dataclasses(value: object) -> Iterator[object]:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        yield value
        for field in dataclasses.fields(value):
            yield from _dataclasses(getattr(value, field.name))
    elif isinstance(value, dict):
        for item in value.values():
            yield from _dataclasses(item)
    elif isinstance(value, tuple):
        for item in value:
            yield from _dataclasses(item)
