"""The demand of streams and queries by class, as a dispatcher estimates it."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

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


class _Away(NamedTuple):
    """A stream without a worker: whether it had one, and until when a new request of it is the same stream."""

    bound: bool
    until: float


@dataclass
class Demand(Generic[Key]):
    """Demand by class, rejected streams included: they are taken to last as long as the others.

    Streams are told apart by `Request.stream`: one that asks again in the time of two of its queries after it
    was rejected or lost its worker is the same one.

    >>> demand = Demand[str]()
    >>> demand.arrived("far", Request(0, 0.1, rate=10.0), taken=True)
    >>> demand.arrived("far", Request(0, 0.1, rate=10.0), taken=False)
    >>> demand.window(5.0)
    >>> demand.classes["far"].streams, demand.grown
    (20.0, 0.0)
    >>> demand.arrived("far", Request(0, 0.1, rate=10.0), taken=True)
    >>> demand.window(5.0)
    >>> demand.classes["far"].streams
    20.0
    """

    smoothing: float = 0.5
    classes: dict[Key, Asked] = field(default_factory=dict, init=False)
    grown: float = field(default=0.0, init=False)
    """The share (0..1) of their steady-state number to which streams can have grown since the beginning."""
    _active: int = field(default=0, init=False)
    _before: int = field(default=0, init=False)
    _ended: int = field(default=0, init=False)
    _endings: float = field(default=0.0, init=False)
    _exposed: float = field(default=0.0, init=False)
    _begun: float = field(default=0.0, init=False)
    """When the present window began."""
    _away: dict[int, _Away] = field(default_factory=dict, init=False)

    def arrived(self, key: Key, request: Request, taken: bool) -> None:
        """A request of a class came, and was bound to a worker or not."""
        asked = self.classes.get(key)
        if asked is None:
            asked = self.classes[key] = Asked(request)
        asked.example = request
        if request.rate == 0:
            asked.queries += request.weight
            return
        away = self._away.pop(request.stream, None)
        if away is None:
            asked.new += request.weight * request.rate
        else:
            self._ended -= away.bound  # it was not over
        self._active += taken
        if not taken:
            self._leave(request, bound=False)

    def ended(self, request: Request) -> None:
        """A stream that was bound is over."""
        if request.rate > 0:
            self._ended += 1
            self._active -= 1
            self._leave(request, bound=True)

    def rekey(self, key_of: Callable[[Request], Key]) -> None:
        """Keys have changed: each class has that of its example now, and those of one key become one."""
        before, self.classes = self.classes, {}
        for asked in before.values():
            same = self.classes.setdefault(key_of(asked.example), asked)
            if same is not asked:
                same.example = max(same.example, asked.example, key=lambda request: request.arrival)
                same.streams += asked.streams
                same.singles += asked.singles
                same.new += asked.new
                same.queries += asked.queries

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
        self._away = {stream: away for stream, away in self._away.items() if away.until >= self._begun}
        self._begun += period

    def _leave(self, request: Request, bound: bool) -> None:
        self._away[request.stream] = _Away(bound, self._begun + 2 / request.rate)
