"""More than a graph can do: 60 live frames a second into 100 ms, 20 ms, and four tiles with room for three."""

from __future__ import annotations

import resource
import threading
from collections.abc import Sequence
from dataclasses import dataclass

from flowedge import Frame, Gather, Graph, Operator, Split, Stream
from flowedge.operators import Null, video
from flowedge.runtime.run import Run

SECONDS = 30
SOURCE = f"street://?live=1&fps=60&seconds={SECONDS}&width=640&height=360&people=4&vehicles=2"


@dataclass
class Busy(Operator[Frame, Frame]):
    """Take some seconds for each frame."""

    seconds: float = 0.1

    def process(self, frame: Frame, /) -> Frame:
        threading.Event().wait(self.seconds)
        return frame


@dataclass
class Quarters(Split[Frame, Frame]):
    """Cut a frame into four."""

    def split(self, frame: Frame, /) -> Sequence[Frame]:
        x1, y1, x2, y2 = frame.region
        x, y = (x1 + x2) // 2, (y1 + y2) // 2
        rects = [(x1, y1, x, y), (x, y1, x2, y), (x1, y, x, y2), (x, y, x2, y2)]
        return [frame.crop(rect, tile=index, tiles=4) for index, rect in enumerate(rects)]


@dataclass
class Whole(Gather[Frame, Frame]):
    """The frame again, if all four quarters came."""

    def gather(self, parts: Sequence[Frame], /) -> Frame:
        if len(parts) != 4:
            raise ValueError(f"{len(parts)} of 4 quarters came")
        return parts[0]


def measure() -> list[str]:
    """Both cases for 30 s each, as text."""
    chain, tiles = Graph("overload"), Graph("tiles")
    _street(chain) >> Busy(0.1) >> Busy(0.02, name="Busy2") >> Null()
    # A quarter takes 33 ms, so three of the four would fit into the 100 ms that a frame had before.
    _street(tiles) >> Quarters() >> Busy(1 / 30) >> Whole() >> Busy(0.02, name="Busy2") >> Null()
    return [_run("100 ms, then 20 ms", chain), _run("four tiles of 33 ms, then 20 ms", tiles)]


def _street(graph: Graph) -> Stream[Frame]:
    return video(graph, SOURCE)


def _run(name: str, graph: Graph) -> str:
    memory: list[int] = []
    with Run(graph) as run:
        while not run.finished:
            run.wait(1.0)
            memory.append(_resident_bytes())
        report = run.wait()
    camera = report.cameras["camera"]
    ended = camera.delivered + camera.filtered + sum(camera.dropped.values()) + camera.failed
    third = len(memory) // 3
    return (
        f"{name}: {camera.produced} produced, {camera.delivered} delivered, {camera.failed} failed, dropped "
        f"{camera.dropped}, in flight {camera.in_flight}, balanced {camera.produced == ended}; latency ms "
        f"{report.latency_ms}; memory {memory[third] / 2**20:.0f} MiB after {third} s, "
        f"{memory[-1] / 2**20:.0f} MiB at the end"
    )


def _resident_bytes() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()
