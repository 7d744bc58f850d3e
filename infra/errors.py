"""Errors that a user can act on, also after they crossed processes."""

import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

_CARRIERS = ("cause", "_base_exc", "controller_failure")
"""Where an error of Ray's keeps what was raised in another process: a task's or an actor's, a training worker's, the
one of Train's controller. (Canary: tests/infra/test_ray_names.py.)"""


class UserError(Exception):
    """One clear sentence: what is wrong, where, and what to do. The command line prints it without a traceback."""


class StorageError(UserError):
    """A location that cannot be read or written, named with the reason."""


def unwrapped(error: BaseException) -> BaseException:
    """What was raised first: without whatever Ray wrapped around it on its way between processes."""
    for name in _CARRIERS:
        inner = getattr(error, name, None)
        if isinstance(inner, BaseException):
            return unwrapped(inner)
    return error


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error and all that led to it, whatever Ray wrapped around each, the latest first."""
    seen: list[BaseException] = []
    while error is not None and not any(error is each for each in seen):
        error = unwrapped(error)
        seen.append(error)
        yield error
        error = error.__cause__ or error.__context__


def reason_of(error: BaseException) -> str:
    """What went wrong, in one sentence: as it was meant for users, else the kind of error and what it says."""
    inner = unwrapped(error)
    if isinstance(inner, UserError | ValueError):
        return str(inner)
    lines = "".join(traceback.format_exception_only(inner)).strip().splitlines()
    return lines[0] if lines else type(inner).__name__


def first_reason(errors: Iterable[BaseException]) -> str:
    """The same of several processes that failed together: what a user can mend comes before what followed from it."""
    inner = [unwrapped(error) for error in errors]
    ranked = sorted(
        inner, key=lambda each: (not isinstance(each, UserError), not isinstance(each, ValueError))
    )
    return reason_of(ranked[0]) if ranked else "unknown"


def is_permanent(error: BaseException) -> bool:
    """Whether it would go wrong again: a user has to act. A store that is away may come back."""
    inner = unwrapped(error)
    return isinstance(inner, UserError | ValueError) and not isinstance(inner, StorageError)


@contextmanager
def as_user_errors() -> Iterator[None]:
    """What a worker said in one sentence, anywhere inside the block, reaches the user as a UserError of it."""
    try:
        yield
    except Exception as error:
        raise UserError(reason_of(error)) from error
