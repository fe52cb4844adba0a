"""What is asked for, by class of stream, as a dispatcher sees it."""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from flowedge.dispatch.workers import Request

Key = TypeVar("Key", bound=Hashable)


@dataclass(slots=True)
class Asked:
    """One class: `streams` and `singles` are nominal queries per second that it would bring if nobody had been
    rejected; `example` is its latest request. `new` and `queries` count within the present window."""

    example: Request
    streams: float = 0.0
    singles: float = 0.0
    new: float = 0.0
    queries: float = 0.0


@dataclass
class Demand(Generic[Key]):
    """Demand by class, rejected streams included: they are taken to last as long as the others.

    >>> demand = Demand[str]()
    >>> demand.arrived("far", Request(0, 0.1, rate=10.0), taken=True)
    >>> demand.arrived("far", Request(0, 0.1, rate=10.0), taken=False)
    >>> demand.window(5.0)
    >>> demand.classes["far"].streams, demand.grown
    (20.0, 0.0)
    """

    smoothing: float = 0.5
    classes: dict[Key, Asked] = field(default_factory=dict, init=False)
    grown: float = field(default=0.0, init=False)
    """To what share of their number in a steady state streams can have grown since the beginning (0..1)."""
    _active: int = field(default=0, init=False)
    _before: int = field(default=0, init=False)
    _ended: int = field(default=0, init=False)
    _endings: float = field(default=0.0, init=False)
    _exposed: float = field(default=0.0, init=False)

    def arrived(self, key: Key, request: Request, taken: bool) -> None:
        """A request of a class came, and was bound to a worker or not."""
        asked = self.classes.get(key)
        if asked is None:
            asked = self.classes[key] = Asked(request)
        asked.example = request
        if request.rate > 0:
            asked.new += request.weight * request.rate
            self._active += taken
        else:
            asked.queries += request.weight

    def ended(self, request: Request) -> None:
        """A stream that was bound is over."""
        if request.rate > 0:
            self._ended += 1
            self._active -= 1

    def window(self, period: float) -> None:
        """`period` seconds have passed: each class has lost the same share as the streams that were bound."""
        self._endings += self._ended
        self._exposed += period * (self._before + self._active) / 2
        self._before, self._ended = self._active, 0
        leaving = -math.expm1(-period * self._endings / self._exposed) if self._exposed else 0.0
        self.grown += leaving * (1 - self.grown)
        for asked in self.classes.values():
            asked.streams += asked.new - leaving * (asked.streams + asked.new / 2)
            asked.singles += self.smoothing * (asked.queries / period - asked.singles)
            asked.new = asked.queries = 0.0
