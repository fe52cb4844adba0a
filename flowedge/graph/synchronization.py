"""Synchronize: pairs of frames of two cameras that were taken at the same time."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeVar

from flowedge.errors import ConfigError
from flowedge.graph.contract import Operator, State

P = TypeVar("P", bound=tuple[object, object])

_TIMES = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0}


def seconds(value: float | str, field: str) -> float:
    """A time given in seconds, or as a text with its unit; raises `ConfigError` naming the `field`.

    >>> seconds(0.2, "deadline"), seconds("40 ms", "tolerance")
    (0.2, 0.04)
    """
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < float("inf"):
        return float(value)
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?(us|ms|s|min)", value) if isinstance(value, str) else None
    if match is None:
        raise ConfigError(f'{field}: {value!r} is not a number of seconds from 0 or a time like "40 ms"')
    return float(match[1]) * _TIMES[match[2]]


@dataclass
class Synchronize(Operator[P, P]):
    """Make pairs of frames of two cameras that were taken at the same time; built by `synchronize`.

    `cameras` are the left and the right one. Frames are a pair where they were taken at most `tolerance`
    seconds apart; a live frame waits at most `deadline` seconds for its partner. As it remembers frames of both
    cameras, there is one replica of it.
    """

    state: ClassVar[State] = State.GLOBAL

    cameras: Sequence[str]
    tolerance: float = 0.04
    deadline: float = 0.2

    def __post_init__(self) -> None:
        super().__post_init__()
        names = tuple(self.cameras)
        two = len(names) == 2 and names[0] != names[1] and all(isinstance(name, str) for name in names)
        self.require("cameras", two, 'the names of two cameras like ("north", "south")')
        self.require("tolerance", 0 <= self.tolerance < float("inf"), "a number of seconds from 0")
        self.require("deadline", 0 <= self.deadline < float("inf"), "a number of seconds from 0")

    @property
    def pair(self) -> tuple[str, str]:
        """The left and the right camera."""
        left, right = self.cameras
        return left, right

    def process(self, pair: P, /) -> P:
        """Return the pair, which the synchronizer before this step made."""
        return pair
