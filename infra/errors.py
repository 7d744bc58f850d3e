"""Errors that a user can act on, also after they crossed processes."""

import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

_ERROR_LINE = re.compile(r"^\s*(?:[\w.]+\.)?(\w*(?:Error|Exception))(?:\(\w+\))?: (.+)$", re.MULTILINE)
_FOR_USERS = ("UserError", "StorageError", "MissingError", "ValueError")
_WRAPPERS = ("Ray", "UserCode", "WorkerGroup")


class UserError(Exception):
    """One clear sentence: what is wrong, where, and what to do. The command line prints it without a traceback."""


class StorageError(UserError):
    """A location that cannot be read or written, named with the reason."""


def described(error: BaseException) -> str:
    """An error as the end of its traceback names it: its kind and what it says."""
    return "".join(traceback.format_exception_only(error))


def sentence_in(text: str) -> str:
    """What went wrong, from the text of an error that crossed processes: the last sentence meant for users, else the
    last error's own line."""
    found = _ERROR_LINE.findall(text)
    meant = [text for kind, text in found if kind in _FOR_USERS]
    ours = [f"{kind}: {text}" for kind, text in found if not kind.startswith(_WRAPPERS)]
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return next(iter([*meant[::-1], *ours[::-1], *lines[::-1]]), "unknown")


def is_permanent(text: str) -> bool:
    """Whether what went wrong, from the text of an error that crossed processes, would go wrong again: a user has to
    act. A store that is away may come back."""
    kinds = [kind for kind, _ in _ERROR_LINE.findall(text)]
    last = next((kind for kind in kinds[::-1] if not kind.startswith(_WRAPPERS)), "")
    return last in ("UserError", "ValueError")


@contextmanager
def as_user_errors() -> Iterator[None]:
    """What a worker said in one sentence, anywhere inside the block, reaches the user as a UserError of it."""
    try:
        yield
    except Exception as error:
        raise UserError(sentence_in(str(error))) from error
