"""One run of a scenario in this process: what every second of it was like."""

from __future__ import annotations

import importlib
import logging
import os
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from unittest import mock

import numpy as np
import psutil  # type: ignore[import-untyped]

from flowedge import Detections, Tracks
from flowedge.graph.contract import Sink, Source
from flowedge.graph.graph import Graph
from flowedge.graph.loading import load
from flowedge.monitor.report import Decision
from flowedge.plane.item import End, Item, Receiver
from flowedge.planner.model import units
from flowedge.planner.model.profiles import Setting
from flowedge.runtime.controller.controller import Controller
from flowedge.runtime.measuring import Window
from flowedge.runtime.routes import Configuration
from flowedge.runtime.run import Run
from flowedge.vision.evaluation import detection_quality
from tools.adaptation.scenarios import SCENARIOS, Load, Step, Street

CLASSES = {"person": ("person",), "vehicle": ("vehicle", "car", "bus", "truck")}
"""The street's truth tells cars from buses, and detectors for it may do so or not."""

SWITCH_SECONDS = 0.0005
"""As `flowedge run` has it."""


@dataclass(frozen=True)
class Second:
    """What one second of a run was like.

    `latency` is the p95 from capture to sink in seconds, None where nothing came out. `f1` (at IoU 0.5) is that
    of the frames of this second, see `Quality`. `produced`, `delivered` and `lost` are frames.
    `settings` counts the cameras in each; `cores` is what the process kept busy, `children` what its
    rehearsals did, `others` all other programs.
    """

    at: float
    latency: float | None
    f1: float | None
    produced: float
    delivered: float
    lost: float
    settings: Mapping[str, int]
    cores: float
    children: float
    others: float


@dataclass(frozen=True)
class Result:
    """A run: its seconds, the F1 of the frames that came and of all, and what its controller did.

    `events` are times and what happened then. `memory` is what the process holds at the end in bytes,
    `controlling` the seconds of the processor that its controller took for every window.
    """

    name: str
    goal: float
    seconds: Sequence[Second]
    events: Sequence[tuple[float, str]]
    f1: float | None
    f1_all: float | None
    decisions: Sequence[Decision] = ()
    memory: int = 0
    controlling: Sequence[float] = ()


def run_scenario(
    path: str,
    given: Mapping[str, str],
    scenario: str,
    seconds: float,
    street: Street,
    setting: Setting | None,
    settle: float,
    cache: str,
) -> Result:
    """Run a graph file through a scenario in one setting, or adapted where that is None.

    What a second was like counts in `f1` from `settle` seconds after the start and every event. `cache` is a
    folder for what adaptation learns.
    """
    os.environ["XDG_CACHE_HOME"] = cache
    sys.setswitchinterval(SWITCH_SECONDS)
    with (
        known_streets() as truths
    ):  # by the same path every time: what is learnt belongs to a graph and its files
        output = {"output": str(Path(cache) / "video" / "{camera}.mp4")}
        graph, _ = load(path, {"source": street.address(0), **output, **given})
        run = Run(graph)
        found = Found(graph, run)
        with run:
            load_ = Load(run, street)
            if setting is not None:
                run.routes.switch(Configuration(setting))
            load_.cameras(street.cameras)
            events = [(share * seconds, name, act) for share, name, act in SCENARIOS[scenario]]
            with Watched(run) if setting is None else nullcontext() as controller:
                begun = time.monotonic()
                rows = list(_seconds(run, load_, events, seconds, begun))
            load_.busy(0)
        goal = units.seconds(graph.goal.latency, "Goal.latency") if graph.goal.latency else float("inf")
        times = [(at, name) for at, name, _ in events]
        quality = found.quality(truths, begun, seconds, [0.0, *(at for at, _ in times)], settle)
        rows = [replace(row, f1=quality.by_second.get(round(row.at) - 1)) for row in rows]
        name = "adaptive" if setting is None else words(setting)
        decisions = [made for made in run.decisions.so_far() if made.settings]
        memory = psutil.Process().memory_info().rss
        if controller is None:
            return Result(name, goal, rows, times, quality.came, quality.every, memory=memory)
        return Result(name, goal, rows, times, quality.came, quality.every, decisions, memory, controller.spent)


class Watched(Controller):
    """A controller whose own work is measured, in seconds of the processor for every window."""

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        self.spent: list[float] = []

    def look(self, window: Window) -> None:
        begun = time.thread_time()
        super().look(window)
        self.spent.append(time.thread_time() - begun)


def tell() -> None:
    """Log what the process does, and when."""
    logging.basicConfig(format="%(relativeCreated)6d %(name)s %(message)s")
    logging.getLogger("flowedge").setLevel(logging.INFO)


def words(setting: Setting) -> str:
    """A setting in words."""
    return " ".join(f"{name}={value}" for name, value in setting)


def _seconds(run: Run, load_: Load, events: Sequence[Step], seconds: float, begun: float) -> Iterator[Second]:
    measuring, waiting = run.measuring(), list(events)
    usage = Usage()
    for second in range(1, int(seconds) + 1):
        while waiting and waiting[0][0] < second:
            _, _, act = waiting.pop(0)
            act(load_)
        time.sleep(max(0.0, begun + second - time.monotonic()))
        window = measuring.window()
        cameras = [camera for _, camera in run.cameras()]
        settings = Counter(words(run.routes.of(camera).setting) for camera in cameras)
        children, others = usage.since()
        yield Second(
            second,
            window.latency.quantile(0.95),
            None,
            sum(rate.produced for rate in window.cameras.values()) * window.seconds,
            sum(rate.delivered for rate in window.cameras.values()) * window.seconds,
            sum(rate.lost for rate in window.cameras.values()) * window.seconds,
            dict(settings),
            window.cores,
            children,
            others,
        )


class Usage:
    """How many cores the children of this process, and all other programs, keep busy."""

    def __init__(self) -> None:
        self._before = self._sums()

    def since(self) -> tuple[float, float]:
        """Since the last call."""
        before, self._before = self._before, self._sums()
        seconds = max(self._before[0] - before[0], 1e-9)
        own, children, all_ = (
            (now - then) / seconds for now, then in zip(self._before[1:], before[1:], strict=True)
        )
        return max(0.0, children), max(0.0, all_ - own - max(0.0, children))

    @staticmethod
    def _sums() -> tuple[float, float, float, float]:
        children = 0.0
        for child in psutil.Process().children(recursive=True):
            try:
                if "resource_tracker" not in " ".join(child.cmdline()):
                    times = child.cpu_times()
                    children += times.user + times.system
            except psutil.Error:
                continue
        machine = psutil.cpu_times()
        busy = machine.user + machine.nice + machine.system + machine.irq + machine.softirq + machine.steal
        return time.monotonic(), time.process_time(), children, busy


@contextmanager
def known_streets() -> Iterator[dict[tuple[str, int], Tracks]]:
    """The truth about every frame of the synthetic cameras that are read meanwhile, by camera and index."""
    module = importlib.import_module("flowedge.operators.video")
    truths: dict[tuple[str, int], Tracks] = {}
    read = module.read_street

    def noting(*words: object, **more: object) -> Iterator[tuple[object, Tracks]]:
        for frame, truth in read(*words, **more):
            truths[truth.origin.camera, truth.origin.index] = truth
            yield frame, truth

    with mock.patch.object(module, "read_street", noting):
        yield truths


class Found:
    """What a run found in every frame: the last detections on the way to its sinks, and when they came."""

    def __init__(self, graph: Graph, run: Run) -> None:
        self._found: dict[str, list[tuple[float, Detections]]] = defaultdict(list)
        self._order = [node.name for node in graph.nodes if not isinstance(node.step, (Sink, Source))]
        for name in self._order:
            run._wiring.outlets[name].lead_to(self._receiver(name))  # no public way in without a second sink

    def _receiver(self, name: str) -> Receiver:
        def receive(item: Item | End) -> None:
            if isinstance(item, Item) and item.parts == 1 and isinstance(item.value, Detections):
                self._found[name].append((time.monotonic(), item.value))

        return receive

    def quality(
        self,
        truths: Mapping[tuple[str, int], Tracks],
        begun: float,
        seconds: float,
        events: Sequence[float],
        settle: float,
    ) -> Quality:
        """F1 against the truth of the streets; `events` are those after which frames settle."""
        last = next((name for name in reversed(self._order) if self._found[name]), None)
        found = {(value.origin.camera, value.origin.index): value for _, value in self._found[last or ""]}
        by_second: dict[int, list[tuple[Detections, Tracks]]] = defaultdict(list)
        came: list[tuple[Detections, Tracks]] = []
        every: list[tuple[Detections, Tracks]] = []
        known: dict[str, Detections] = {}  # the latest of each camera
        for (camera, index), truth in sorted(truths.items(), key=lambda pair: pair[1].origin.monotonic):
            own = found.get((camera, index))
            known[camera] = own or known.get(camera) or _nothing(truth)
            shown = replace(known[camera], origin=truth.origin)
            at = truth.origin.monotonic - begun
            if not 0 <= at < seconds:
                continue
            by_second[int(at)].append((shown, truth))
            if is_settled(at, events, settle):
                every.append((shown, truth))
                if own is not None:
                    came.append((own, truth))
        return Quality(
            {at: _f1(pairs) for at, pairs in by_second.items()},
            _f1(came) if came else None,
            _f1(every) if every else None,
        )


@dataclass(frozen=True)
class Quality:
    """F1 of the frames of every second, of all frames that came once the run had settled, and of all that were
    produced then: for a frame that was lost, what was found last stands."""

    by_second: Mapping[int, float]
    came: float | None
    every: float | None


def _nothing(truth: Tracks) -> Detections:
    return Detections(truth.origin, np.empty((0, 4)), [], [], truth.names)


def is_settled(at: float, events: Sequence[float], settle: float) -> bool:
    """Whether nothing has happened for a while."""
    return all(not event <= at < event + settle for event in events)


def _f1(pairs: Sequence[tuple[Detections, Tracks]]) -> float:
    found, truth = zip(*pairs, strict=True)
    return detection_quality(found, truth, CLASSES).f1
