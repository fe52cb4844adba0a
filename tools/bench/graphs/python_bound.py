"""Three operators of pure Python, as fast as they go."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

from flowedge import Event, Graph, Operator, Origin, Source, param
from flowedge.operators import Null
from tools.bench.burning import burn


@dataclass
class Numbers(Source[Event]):
    """Values that need nothing to be read."""

    count: int = 1000

    def read(self, camera: str, stop: threading.Event) -> Iterator[Event]:
        for index in range(self.count):
            if stop.is_set():
                return
            yield Event(Origin(camera, index=index, monotonic=time.monotonic()), "number")


@dataclass
class Burn(Operator[Event, Event]):
    """Runs a loop of Python so many times."""

    loops: int = 0

    def process(self, value: Event, /) -> Event:
        burn(self.loops)
        return value


graph = Graph("python_bound")
loops = param("loops", type=int)
stream = graph.source(Numbers({"numbers": ""}, count=param("count", 1000)))
(
    stream
    >> Burn(loops or 0, name="first")
    >> Burn(loops or 0, name="second")
    >> Burn(loops or 0, name="third")
    >> Null()
)
