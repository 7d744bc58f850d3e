"""Errors that a user can act on."""


class UserError(Exception):
    """One clear sentence: what is wrong, where, and what to do. The command line prints it without a traceback."""


class StorageError(UserError):
    """A location that cannot be read or written, named with the reason."""
