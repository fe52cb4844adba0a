"""A sink for streams that nobody keeps."""

from __future__ import annotations

from dataclasses import dataclass

from flowedge import Sink


@dataclass
class Null(Sink[object]):
    """Take anything and keep nothing: for measuring, and for operators that act by themselves.

    >>> Null().write("anything")
    """

    def write(self, value: object, /) -> None:
        """Nothing happens."""
