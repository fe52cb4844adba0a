"""What the settings of a running graph take, and how well they see: learnt from rehearsals beside it."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from flowedge.errors import UserError
from flowedge.graph.graph import Graph
from flowedge.plane.item import End, Item
from flowedge.planner.model.profiles import Setting
from flowedge.profiling.measure import WARM
from flowedge.profiling.rehearsal import Rehearsal, Rehearsed, agreement
from flowedge.runtime.controller import cost_cache
from flowedge.runtime.controller.adaptation import Cost
from flowedge.runtime.controller.agreements import Agreements
from flowedge.runtime.runner import Outlet
from flowedge.values import Packet

log = logging.getLogger("flowedge.plan")

PACKETS, FRAMES = 20, WARM + 7
"""What a rehearsal runs on, of a source that gives packets and of one that gives frames: enough to tell
settings apart beside a busy run (by 3 frames after the first `WARM`, 512 pixels once took 1.9 times as long as
416, by more 1.5 times), and so few that a camera of one frame a second soon has given them."""

SAMPLE_SECONDS = 30.0
"""How long the frames of a rehearsal are waited for; a camera that gives fewer is left for the next one."""

PAUSE_SECONDS = 10.0
"""Between two rehearsals, at least, once every setting has had its first."""

SHARE = 0.1
"""The share of the time that is spent on rehearsals then: they yield the cores, but not caches and memory."""

RETRY_SECONDS = 1.0
"""Until cameras are looked for again where none gave enough."""


class Samples:
    """Takes a few values of one camera from a source, when asked; costs next to nothing otherwise."""

    def __init__(self, outlets: Mapping[str, Outlet]) -> None:
        self._wanted: str | None = None
        self._values: list[Any] = []
        self._lock = threading.Lock()
        self._full = threading.Event()
        self._cancelled = False
        self._source = ""
        for name, outlet in outlets.items():
            outlet.lead_to(self._receiver(name))

    def take(self, source: str, camera: str, timeout: float) -> list[Any]:
        """Values of a camera in a row, beginning with a key frame; what came within `timeout` seconds.

        Nothing after `cancel`.
        """
        with self._lock:
            if self._cancelled:
                return []
            self._values, self._source, self._wanted = [], source, camera
            self._full.clear()
        self._full.wait(timeout)
        with self._lock:
            self._wanted = None
            return self._values

    def cancel(self) -> None:
        """Let who waits in `take` go, and nobody wait there any more."""
        with self._lock:
            self._cancelled = True
        self._full.set()

    def _receiver(self, source: str) -> Any:
        def receive(item: Item | End) -> None:
            if self._wanted is None or item.camera != self._wanted or not isinstance(item, Item):
                return
            with self._lock:
                if self._wanted is None or source != self._source:
                    return
                packet = isinstance(item.value, Packet)
                if packet and not self._values and not item.value.keyframe:
                    return
                self._values.append(item.value)
                if len(self._values) >= (PACKETS if packet else FRAMES):
                    self._wanted = None
                    self._full.set()

        return receive


class Learning:
    """Rehearses settings from a thread of its own, from `start` to `close`; `costs` is what is known so far.

    The accuracy of a setting is how well its detections agree with those of the setting that takes most, in the
    mean of the cameras that run, at this hour of the day where enough is known of it (`agreements`).
    `outlets` are those of the sources; `cameras` gives pairs of a source and a camera that runs. `costs` are
    believed, if given, until every setting has been rehearsed: of figures from elsewhere and from here, none
    could be compared.
    """

    def __init__(
        self,
        graph: Graph,
        settings: Sequence[Setting],
        outlets: Mapping[str, Outlet],
        cameras: Callable[[], Sequence[tuple[str, str]]],
        costs: Mapping[Setting, Cost] | None = None,
        hour: Callable[[], int] = lambda: time.localtime().tm_hour,
    ) -> None:
        self._graph = graph
        self._settings = list(settings)
        self._cameras = cameras
        self._hour = hour
        self._samples = Samples(outlets)
        self._rehearsal = Rehearsal(graph)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._learn, name="flowedge-rehearsal", daemon=True)
        self.costs: Mapping[Setting, Cost]
        self.costs, self._agreements = (costs, Agreements()) if costs else cost_cache.load(graph, settings)
        self._given: dict[Setting, Rehearsed] | None = {} if costs else None  # what replaces them in the end
        self._settings.sort(key=lambda setting: sum(self.costs[setting].work.values()) if self.costs else 0.0)

    def start(self) -> None:
        self._see()
        self._thread.start()

    def close(self) -> None:
        """End the thread and the process of the rehearsals."""
        self._closed.set()
        self._samples.cancel()
        self._rehearsal.close()
        if self._thread.ident is not None:
            self._thread.join()

    def _learn(self) -> None:
        pause = 0.0
        if self.costs:  # what an earlier run learnt can be planned with: there is no haste
            self._rehearsal.take_time()
        for turn in itertools.count():
            if self._closed.wait(pause):
                return
            sample = self._sample(turn // max(1, len(self._settings) - 1))  # every setting on every camera
            begun = time.monotonic()
            if sample is not None and not self.costs:
                self._first(*sample)
            elif sample is not None:
                self._again(turn, *sample)
            if self._closed.is_set() or len(self._settings) < 2:
                return
            took = time.monotonic() - begun
            pause = max(PAUSE_SECONDS, took * (1 / SHARE - 1)) if self.costs else RETRY_SECONDS

    def _sample(self, turn: int) -> tuple[str, str, list[Any]] | None:
        """The source and name of the camera whose turn it is, and values of it."""
        cameras = self._cameras()
        if not cameras:
            return None
        source, camera = cameras[turn % len(cameras)]
        values = self._samples.take(source, camera, SAMPLE_SECONDS)
        return (source, camera, values) if len(values) >= FRAMES else None

    def _first(self, source: str, camera: str, values: list[Any]) -> None:
        """Every setting on the same values, the one in force first; two are enough to begin with."""
        tried: dict[Setting, Rehearsed] = {}
        for setting in list(self._settings):
            known = self._try(setting, source, values)
            if known is not None:
                tried[setting] = known
            if len(tried) > 1:
                self.costs = _compared(tried)
        if not tried or self._closed.is_set():
            return
        self.costs = _compared(tried)
        reference = max(tried, key=lambda setting: _total(tried[setting]))
        self._rehearsal.take_time()
        for setting, cost in self.costs.items():
            if cost.accuracy is not None and setting != reference:
                self._agreements.note(setting, camera, self._hour(), cost.accuracy)
        self._settings.sort(key=lambda setting: _total(tried[setting]))
        cost_cache.save(self._graph, self.costs, self._agreements)

    def _again(self, turn: int, source: str, camera: str, values: list[Any]) -> None:
        """One setting, and the reference, on values of now."""
        *others, reference = self._settings
        setting = others[turn % len(others)]
        expected, known = self._try(reference, source, values), self._try(setting, source, values)
        if expected is None or known is None:
            return
        latest = _accuracy(known, expected)
        if latest is not None:
            self._agreements.note(setting, camera, self._hour(), latest)
        if self._given is not None:
            self._given |= {reference: expected, setting: known}
            if not self._given.keys() >= set(self._settings):
                return
            self.costs = {
                name: Cost(_work(tried), _accuracy(tried, tried) if name == reference else None)
                for name, tried in self._given.items()
            }
            self._given = None
        self._see()
        cost_cache.save(self._graph, self.costs, self._agreements)

    def _see(self) -> None:
        """Let the accuracy of settings be that for the cameras that run, at this hour."""
        running, hour = [name for _, name in self._cameras()], self._hour()
        seen = {setting: self._agreements.mean(setting, running, hour) for setting in self.costs}
        self.costs = {
            setting: cost if seen[setting] is None else replace(cost, accuracy=seen[setting])
            for setting, cost in self.costs.items()
        }

    def _try(self, setting: Setting, source: str, values: list[Any]) -> Rehearsed | None:
        """What the rehearsal of a setting tells; one that fails is not tried again."""
        if self._closed.is_set():
            return None
        try:
            return self._rehearsal.try_setting(setting, {source: values})
        except UserError as error:
            if not self._closed.is_set():
                log.warning("%s is not used: %s", " ".join(f"{name}={value}" for name, value in setting), error)
                self._settings.remove(setting)
            return None


def _work(known: Rehearsed) -> dict[str, float]:
    return {step.operator: step.work for step in known.measurement.times}


def _total(known: Rehearsed) -> float:
    return sum(_work(known).values())


def _compared(tried: Mapping[Setting, Rehearsed]) -> dict[Setting, Cost]:
    """What settings take, and their accuracy: that which takes most is the reference."""
    reference = tried[max(tried, key=lambda setting: _total(tried[setting]))]
    return {setting: Cost(_work(known), _accuracy(known, reference)) for setting, known in tried.items()}


def _accuracy(known: Rehearsed, reference: Rehearsed) -> float | None:
    """The agreement of the frames that both have; None for graphs without detections."""
    expected = {value.origin.index: value for value in reference.results}
    pairs = [(value, expected[value.origin.index]) for value in known.results if value.origin.index in expected]
    if not pairs:
        return None
    found, right = zip(*pairs, strict=True)
    return agreement(found, right)
