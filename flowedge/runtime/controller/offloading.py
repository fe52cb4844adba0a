"""Gives operators to worker processes where Python's global lock (GIL) limits a running graph.

While it does not, this costs a few looks a second at the lock (`flowedge.profiling.gil`) and nothing else.
Where the lock is nearly always taken, the operators are rehearsed on a few frames in a process beside the run,
which tells how long every one of them holds it (`flowedge.profiling.rehearsal`), `placement` says which of them
should move, and the run goes that way (`flowedge.runtime.routes`) if it serves more so: else it goes back.
"""

from __future__ import annotations

import logging
import math
import random
import threading
import time
from collections import deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from flowedge.errors import UserError
from flowedge.graph.contract import State
from flowedge.graph.nodes import GraphNode
from flowedge.monitor.histogram import Histogram
from flowedge.monitor.report import Decision
from flowedge.planner.model.profiles import Setting
from flowedge.profiling.fitting import Measurement
from flowedge.profiling.gil import LockProbe
from flowedge.profiling.measure import cores_here
from flowedge.runtime.controller.placement import (
    MARGIN,
    UTILISATION,
    Load,
    Placement,
    Workers,
    capacity,
    placement,
)
from flowedge.runtime.measuring import Measuring, Window
from flowedge.runtime.routes import Configuration, first_setting
from flowedge.runtime.run import Run

if TYPE_CHECKING:
    from flowedge.profiling.rehearsal import Rehearsal
    from flowedge.runtime.controller.learning import Samples

log = logging.getLogger("flowedge.plan")

LOOKS = 20
"""Looks at the lock in a second, at random, as frames are regular."""

TAKEN = 0.85
"""The share of the looks that find the lock taken from which it may be the limit: less, and a graph of files
could gain next to nothing."""

SCATTER = 0.2
"""How far the share of one second's looks may be below the true one."""

DECIDING, JUDGING = 2, 3
"""Seconds that are looked at together, before a move and, as it is undone where that tells, after it."""

SETTLING_SECONDS = 2.0
"""After a move, which are not judged."""

HELPED = 1.05
"""How many times the frames a second must be served after a move for it to stay, or, live, how many times as
long frames must have been on their way before it."""

NEARLY_ALL = 0.95
"""The share of the frames whose latency counts."""

SAMPLE_SECONDS = 10.0
"""How long the frames to rehearse with are waited for."""

PAUSE_SECONDS, LONGEST_SECONDS = 30.0, 1800.0
"""Between two decisions about an unchanged graph; twice as long each time that one did not help."""


@dataclass(frozen=True)
class Move:
    """Operators went to `workers`, or home where there are none, `at` so many seconds after the beginning.

    `taken` is the share of looks that found the lock taken before, with so many `frames_per_second` and such a
    `latency` (s) of nearly all; `expected` how many times as many frames were forecast.
    """

    at: float
    workers: Workers
    taken: float
    expected: float
    frames_per_second: float
    latency: float | None


class Offloading:
    """Moves operators of a run that has begun until it is closed; use it as a context manager inside the run's.

    `workers` are those of now; who changes the settings of cameras keeps them, holding `lock`. `cores` is how
    many the run may use, by default all that the process may. What was done is noted in `run.decisions`.
    """

    def __init__(self, run: Run, *, cores: int | None = None) -> None:
        self.workers: Workers = {}
        self.lock = threading.RLock()
        self._run = run
        self._cores = cores or cores_here()
        self._probe = LockProbe()
        self._measuring: Measuring | None = None
        self._samples: Samples | None = None
        self._rehearsal: Rehearsal | None = None
        self._measured: dict[Setting, Measurement] = {}
        self._recent: deque[tuple[Window, float]] = deque(maxlen=JUDGING)
        self._judged: Move | None = None
        self._begun = time.monotonic()
        self._not_before = self._begun
        self._pause = PAUSE_SECONDS
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="flowedge-offloading", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave the run as it is."""
        self._closed.set()
        with self.lock:
            helpers = self._samples, self._rehearsal
        if helpers[0] is not None:
            helpers[0].cancel()
        if helpers[1] is not None:
            helpers[1].close()
        if self._thread.ident is not None:
            self._thread.join()

    def _watch(self) -> None:
        while not self._closed.is_set():
            for _ in range(LOOKS):
                self._probe.look(self._closed.wait, random.uniform(0.5, 1.5) / LOOKS)
            if self._closed.is_set():
                return
            try:
                self._look(self._probe.share())
            except UserError as error:
                if not (self._closed.is_set() or self._run.stopping):
                    log.warning("operators stay in the processes they are in: %s", error)
                self._wait_longer()
            except Exception:
                log.exception("operators stay in the processes they are in from now on")
                return

    def _look(self, taken: float) -> None:
        """Consider the last second; what happened in it is added up only where that may matter."""
        matters = taken >= TAKEN - SCATTER or bool(self.workers)
        if time.monotonic() < self._not_before or not matters or self._run.preempted:
            self._measuring = None
            self._recent.clear()
            return
        if self._measuring is None:
            self._measuring = self._run.measuring()
            return
        window = self._measuring.window()
        if not any(camera.produced or camera.delivered for camera in window.cameras.values()):
            self._recent.clear()  # nothing to be judged by
            return
        self._recent.append((window, taken))
        if self._judged is not None:
            if len(self._recent) >= JUDGING:
                self._judge(self._judged)
        elif len(self._recent) >= DECIDING and (self.workers or self._taken() >= TAKEN):
            self._decide()

    def _decide(self) -> None:
        """Plan by the last few windows, and move what should be."""
        windows, taken = [window for window, _ in self._recent], self._taken()
        setting = self._setting()
        measurement = self._measured.get(setting) or self._rehearsed(setting)
        if measurement is None:
            self._wait_longer()
            return
        loads = self._loads(measurement, windows)
        wanted = self._wanted(loads, self._demand(windows), taken)
        if wanted.workers == self.workers:
            self._pause_for(PAUSE_SECONDS)
            return
        expected = wanted.serves / capacity(self._run.graph, loads, self.workers, self._cores)
        move = self._move(wanted.workers, expected)
        before = self.workers
        self._go(wanted.workers)
        if wanted.workers:
            self._judged = move if not before else None
            self._note(f"{100 * taken:.0f} % of the time Python's global lock is taken", move)
        else:
            self._note("one process suffices again", move)
        self._pause_for(SETTLING_SECONDS)

    def _move(self, workers: Workers, expected: float) -> Move:
        """A move of now, by what the last few windows say of what was before it."""
        windows = [window for window, _ in self._recent]
        seconds = sum(window.seconds for window in windows)
        delivered = sum(
            rate.delivered * window.seconds for window in windows for rate in window.cameras.values()
        )
        latency = Histogram.merged(window.latency for window in windows).quantile(NEARLY_ALL)
        at, rate = time.monotonic() - self._begun, delivered / max(seconds, 1e-9)
        return Move(at, workers, self._taken(), expected, rate, latency)

    def _taken(self) -> float:
        """The share of the last few seconds' looks that found the lock taken."""
        return sum(share for _, share in self._recent) / len(self._recent)

    def _wanted(self, loads: Mapping[str, Load], demand: float, taken: float) -> Placement:
        """Where operators should be; those that have moved stay until they need much less of the lock."""
        graph = self._run.graph
        if self.workers and demand < UTILISATION / 2 * capacity(graph, loads, {}, self._cores):
            return Placement()
        used = sum(load.rate * load.held for load in loads.values())
        if not self.workers and demand < math.inf and used < taken / 2:
            return Placement()  # who has the lock waits for a core, of which there would be no more
        wanted = placement(graph, loads, cores=self._cores, demand=demand)
        now = capacity(graph, loads, self.workers, self._cores)
        stays = not wanted.workers or wanted.serves < MARGIN * now
        return Placement(self.workers, now) if self.workers and stays else wanted

    def _judge(self, move: Move) -> None:
        """Let a move stay if more is served since."""
        self._judged = None
        back = self._move({}, 1.0)
        sooner = (
            self._demand([window for window, _ in self._recent]) < math.inf
            and move.latency is not None
            and HELPED * (back.latency or 0.0) <= move.latency
        )
        if sooner or back.frames_per_second >= HELPED * move.frames_per_second:
            self._pause = PAUSE_SECONDS
            self._pause_for(self._pause)
            return
        self._go({})
        with_workers, without = back.frames_per_second, move.frames_per_second
        self._note(f"{with_workers:.1f} frames/s with workers, {without:.1f} without", back)
        self._wait_longer()

    def _note(self, reason: str, move: Move) -> None:
        decision = Decision(
            move.at, reason, workers=move.workers, measured_fps=move.frames_per_second,
            expected_fps=move.expected * move.frames_per_second if move.workers else None,
        )  # fmt: skip
        self._run.decisions.add(decision)
        log.info("%s", decision)

    def _go(self, workers: Workers) -> None:
        """Let the next frames of every camera, and of those to come, go this way, each in its setting."""
        routes = self._run.routes
        with self.lock:
            cameras = [camera for _, camera in self._run.cameras()]
            of = {camera: routes.of(camera).setting for camera in cameras}
            routes.switch(Configuration(self._setting(), workers))
            for setting in dict.fromkeys(of.values()):
                routes.switch(
                    Configuration(setting, workers), [camera for camera in cameras if of[camera] == setting]
                )
            self.workers = workers

    def _setting(self) -> Setting:
        """That of most cameras."""
        used = [self._run.routes.of(camera).setting for _, camera in self._run.cameras()]
        return max(used, key=used.count) if used else first_setting(self._run.graph)

    def _demand(self, windows: list[Window]) -> float:
        """How many times the present rates are asked for: infinitely many where a file is read."""
        produced = lost = 0.0
        for window in windows:
            for camera, rate in window.cameras.items():
                if rate.produced and not self._run.is_live(camera):
                    return math.inf
                produced, lost = produced + rate.produced, lost + rate.lost
        return produced / max(produced - lost, 0.01 * produced) if produced else 1.0

    def _loads(self, measurement: Measurement, windows: list[Window]) -> dict[str, Load]:
        """What the operators take of the frames of these windows."""
        graph, sent = self._run.graph, {size.operator for size in measurement.bytes}
        cameras = len(self._run.cameras())
        loads = {}
        for time_of in measurement.times:
            node = graph.node(time_of.operator)
            counted = self._counted(node)
            loads[node.name] = Load(
                sum(window.rates.get(counted, 0.0) for window in windows) / len(windows),
                time_of.seconds,
                time_of.work,
                time_of.held,
                time_of.pixels,
                not node.tiled and sent.issuperset((node.name, *node.feeders)),
                cameras if node.step.state is State.PER_CAMERA else None,
            )
        return loads

    def _counted(self, node: GraphNode) -> str:
        """The step before it, or itself, whose values are whole frames."""
        while node.tiled:
            node = self._run.graph.node(node.feeders[0])
        return node.name

    def _rehearsed(self, setting: Setting) -> Measurement | None:
        """What the operators take, from a rehearsal on frames of now; None where there are not enough."""
        from flowedge.profiling.rehearsal import Rehearsal
        from flowedge.runtime.controller.learning import FRAMES, Samples

        with self.lock:
            self._samples = self._samples or Samples(self._run.source_outlets)
        first: dict[str, str] = {}
        for source, camera in self._run.cameras():
            first.setdefault(source, camera)
        if first.keys() != {node.name for node in self._run.graph.sources()}:
            return None  # the others would be opened a second time
        given: dict[str, Collection[Any]] = {}
        for source, camera in first.items():
            given[source] = values = self._samples.take(source, camera, SAMPLE_SECONDS)
            if self._closed.is_set() or len(values) < FRAMES:
                return None
        with Rehearsal(self._run.graph) as rehearsal:
            self._rehearsal = rehearsal
            if self._closed.is_set():
                return None
            measurement = rehearsal.try_setting(setting, {name: list(values) for name, values in given.items()})
        self._measured[setting] = measurement.measurement
        return measurement.measurement

    def _pause_for(self, seconds: float) -> None:
        self._recent.clear()
        self._measuring = None  # what is measured meanwhile belongs to neither placement
        self._probe.share()
        self._not_before = time.monotonic() + seconds

    def _wait_longer(self) -> None:
        self._pause_for(self._pause)
        self._pause = min(2 * self._pause, LONGEST_SECONDS)
