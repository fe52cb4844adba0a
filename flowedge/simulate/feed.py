"""Requests, in chunks, merged with the events of a core in order of time."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable

from flowedge.simulate.arrivals import CHUNK, Arrivals, Requests
from flowedge.simulate.core import Core

Ask = Callable[[int, float, float, float], None]
"""Takes a request: the number of its client, and its noise, there and back."""


class RequestFeed:
    """Feed a core its requests, chunk by chunk. They stay off the heap, which saves a third of its work."""

    def __init__(self, core: Core, arrivals: Arrivals, ask: Ask) -> None:
        self._core = core
        self._arrivals = arrivals
        self._ask = ask
        self._chunk = -1
        self._requests = Requests([], [], [], [], [])
        self._position = 0

    def advance(self, until: float = math.inf) -> None:
        """Simulates up to a time; without one, until everything that was asked has come to an end."""
        core, duration = self._core, self._core.duration
        while True:
            self._arrive(until)
            border = min((self._chunk + 1) * CHUNK, duration, until)
            core.advance(border)
            core.now = max(core.now, border)
            if border in (until, duration):
                break
            self._chunk += 1
            self._requests = self._arrivals.chunk(self._chunk)
            self._position = 0
        core.advance(until)

    def _arrive(self, until: float) -> None:
        """Requests of the present chunk before `until`, each after the events that come before it."""
        core, heap, requests, ask = self._core, self._core.heap, self._requests, self._ask
        start = self._position
        self._position = stop = bisect_left(requests.times, until)
        for time, client, noise, there, back in zip(
            requests.times[start:stop],
            requests.clients[start:stop],
            requests.noise[start:stop],
            requests.there[start:stop],
            requests.back[start:stop],
            strict=True,
        ):
            if heap and heap[0][0] < time:
                core.advance(time)
            core.now = time
            ask(client, noise, there, back)
