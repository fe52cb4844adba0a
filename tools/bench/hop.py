"""One in-process hop: how long a 1080p frame takes from one operator's hands into the next one's."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from flowedge import Frame, Graph, Operator, Origin, Source
from flowedge.cli.run import SWITCH_SECONDS
from flowedge.operators import Null
from flowedge.runtime.run import Run


@dataclass
class Ticking(Source[Frame]):
    """The same 1080p picture at a steady rate."""

    frames: int = 1000
    rate: float = 200.0
    small: bool = False
    """Whether the picture has 16 x 16 pixels instead."""

    def read(self, camera: str, stop: threading.Event) -> Iterator[Frame]:
        height, width = (16, 16) if self.small else (1080, 1920)
        image = np.zeros((height, width, 3), np.uint8)
        begun = time.monotonic()
        for index in range(self.frames):
            if stop.wait(max(0.0, begun + index / self.rate - time.monotonic())):
                return
            now = time.monotonic()
            yield Frame(Origin(camera, index=index, monotonic=now, width=width, height=height), image)


@dataclass
class Pass(Operator[Frame, Frame]):
    """Hand the frame on: its wait is one hop."""

    def process(self, frame: Frame, /) -> Frame:
        return frame


def measure(frames: int) -> list[str]:
    """One hop at two rates, the bare wake-up of a thread beside it, and a hop beside a Python-bound thread."""
    lines = []
    for rate in (200.0, 1000.0):
        lines.append(f"bare wake-up of a thread, {rate:.0f} a second: {handoff(frames, rate)}")
        lines.append(f"one hop, {rate:.0f} frames/s: {hop(frames, rate)}")
    stop = threading.Event()
    busy = threading.Thread(target=_count, args=(stop,))
    busy.start()
    usual = sys.getswitchinterval()
    for interval in (usual, SWITCH_SECONDS):
        sys.setswitchinterval(interval)
        beside = f"beside a Python-bound thread that may keep the interpreter for {1e3 * interval:g} ms"
        lines.append(f"one hop, 200 frames/s, {beside}: {hop(frames, 200.0)}")
    sys.setswitchinterval(usual)
    stop.set()
    busy.join()
    return lines


def hop(frames: int, rate: float) -> str:
    """The median and p99 time of one hop in microseconds, as text."""
    graph = Graph("hop")
    graph.source(Ticking({"camera": ""}, frames=frames, rate=rate)) >> Pass() >> Null()
    with Run(graph) as run:
        wait = run.wait().operators["Null"].wait_ms
    median, p99 = (1e3 * (wait[name] or 0.0) for name in ("p50", "p99"))
    return f"median {median:.1f} us, p99 {p99:.1f} us"


def _count(stop: threading.Event) -> None:
    number = 0
    while not stop.is_set():
        number += 1


def handoff(times: int, rate: float) -> str:
    """What the machine needs to wake one thread from another, without any of our code, as text."""
    bell, pause = threading.Lock(), threading.Event()
    bell.acquire()
    waits: list[float] = []
    rung = 0.0

    def answer() -> None:
        for _ in range(times):
            bell.acquire()
            waits.append(time.perf_counter() - rung)

    thread = threading.Thread(target=answer)
    thread.start()
    for ring in range(1, times + 1):
        pause.wait(1 / rate)
        while len(waits) < ring - 1:  # the last one is late
            pause.wait(1 / rate)
        rung = time.perf_counter()
        bell.release()
    thread.join()
    waits.sort()
    return f"median {1e6 * waits[times // 2]:.1f} us, p99 {1e6 * waits[int(times * 0.99)]:.1f} us"
