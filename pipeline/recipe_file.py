"""A recipe as a Python file that the command line takes: `reelscript train FILE:recipe`."""

import dataclasses
import pprint
from collections.abc import Iterator

from pipeline.recipe import Recipe

FUNCTION = "recipe"


def as_file(recipe: Recipe, title: str) -> bytes:
    """The recipe with every field written out, below a line that says what it is."""
    kinds = sorted({(type(part).__module__, type(part).__name__) for part in _dataclasses(recipe)})
    imports = "\n".join(f"from {module} import {name}" for module, name in kinds)
    body = pprint.pformat(recipe, width=100, sort_dicts=False)
    indented = "\n".join(f"    {line}" if line else line for line in f"return {body}".splitlines())
    text = f'"""{title}"""\n\n{imports}\n\n\ndef {FUNCTION}() -> Recipe:\n{indented}\n'
    return text.encode()


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
