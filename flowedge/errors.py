"""Mistakes that a user can mend: the command line prints their one sentence and no traceback."""

from __future__ import annotations


class UserError(ValueError):
    """One sentence that names what was given, what is wrong with it and how to mend it."""


class GraphError(UserError):
    """Operators that do not fit together, or a graph that cannot run."""


class ConfigError(UserError):
    """A field of an operator, a goal or a parameter with a value that it cannot have."""


class SourceError(UserError):
    """A camera or file that cannot be read: `kind` is one of the classes that `flowedge run` reports.

    `transient` says whether trying again later can help.
    """

    def __init__(self, kind: str, message: str, *, transient: bool = False) -> None:
        super().__init__(message)
        self.kind = kind
        self.transient = transient


class RunError(UserError):
    """Something in a running graph broke; its traceback was logged when it happened."""


class StateError(UserError):
    """The state of an operator that cannot be taken over: of another version of it, or no state at all."""


def described(error: BaseException) -> str:
    """The kind of an error and its message in one line, with the mend where it is known."""
    text = f"{type(error).__name__}: {' '.join(str(error).split())}"
    refused = str(error).lower()
    return f"{text}; {_READ_ONLY}" if "read-only" in refused or "marked as readonly" in refused else text


_READ_ONLY = "pictures are read only: change frame.image.copy() and give frame.replace(image=...)"
