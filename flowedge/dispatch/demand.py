"""What is asked for, by class of stream, as a dispatcher sees it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from flowedge.dispatch.workers import Request

Key = TypeVar("Key")


@dataclass(slots=True)
class Asked:
    """One class: `streams` and `singles` are nominal queries per second that it would bring if nobody were
    rejected; `example` is its latest request. `new` and `queries` count within the present window."""

    example: Request
    streams: float = 0.0
    singles: float = 0.0
    new: float = 0.0
    queries: float = 0.0

    @property
    def rate(self) -> float:
        """Nominal queries per second."""
        return self.streams + self.singles


@dataclass
class Demand(Generic[Key]):
    """Demand by class, rejected streams included: they are taken to last as long as the others.

    >>> demand = Demand(lambda request: request.application)
    >>> demand.arrived(Request(0, 0.1, rate=10.0), taken=True)
    >>> demand.arrived(Request(0, 0.1, rate=10.0), taken=False)
    >>> demand.window(5.0)
    >>> demand.classes[0].rate
    20.0
    """

    key: Callable[[Request], Key]
    smoothing: float = 0.5
    classes: dict[Key, Asked] = field(default_factory=dict, init=False)
    _active: int = field(default=0, init=False)
    _ended: int = field(default=0, init=False)
    _leaving: float = field(default=0.0, init=False)

    def arrived(self, request: Request, taken: bool) -> None:
        """A request came, and was bound to a worker or not."""
        key = self.key(request)
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
        bound = self._active + self._ended
        if bound > 0:
            self._leaving += self.smoothing * (self._ended / bound - self._leaving)
        self._ended = 0
        for asked in self.classes.values():
            asked.streams = asked.streams * (1 - self._leaving) + asked.new
            asked.singles += self.smoothing * (asked.queries / period - asked.singles)
            asked.new = asked.queries = 0.0
