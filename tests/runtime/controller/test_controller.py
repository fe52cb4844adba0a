"""The controller of a run that is none: what it does follows from windows that the tests make."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from flowedge import Goal, Graph, choose
from flowedge.monitor.histogram import Histogram
from flowedge.operators import Detect, NonMaxMerge, Null, Resize, Slice, video
from flowedge.planner.model.profiles import Setting
from flowedge.runtime.controller import controller as module
from flowedge.runtime.controller.adaptation import Cost
from flowedge.runtime.controller.controller import ROTATION_SECONDS, Controller
from flowedge.runtime.measuring import CameraRate, Window, together
from flowedge.runtime.routes import Configuration, first_setting

WORK = {320: 0.02, 416: 0.035, 512: 0.05, 640: 0.08}
ACCURACY = {320: 0.5, 416: 0.7, 512: 0.8, 640: 1.0}
FPS = 4.0


def at(size: int) -> Setting:
    return (("width", size),)


def graph(latency: str = "200 ms") -> Graph:
    made = Graph("door", Goal(latency=latency))
    video(made, "street://?live=1") >> Resize(choose("width", 416, 320, 512, 640)) >> Null()
    return made


COSTS = {at(size): Cost({"Resize": WORK[size]}, ACCURACY[size]) for size in WORK}


@dataclass
class Routes:
    """Notes what is switched."""

    first: Setting
    settings: dict[str, Setting] = field(default_factory=dict)
    switches: int = 0

    def of(self, camera: str) -> Configuration:
        return Configuration(self.settings.get(camera, self.first))

    def switch(self, wanted: Configuration, cameras: Collection[str] | None = None) -> None:
        if cameras is None:
            self.first, self.settings = wanted.setting, {}
        for camera in cameras or ():
            self.switches += self.of(camera) != wanted
            self.settings[camera] = wanted.setting


class Machine:
    """Stands in for a run: one operator that serves cameras in turn, each frame in its work x `slower`."""

    def __init__(self, made: Graph, cameras: int) -> None:
        self.graph = made
        self.routes = Routes(first_setting(made))
        self.names = [f"c{number}" for number in range(cameras)]
        self.slower = 1.0
        self.source_outlets: Mapping[str, Any] = {}
        self.now = 0.0

    def cameras(self) -> list[tuple[str, str]]:
        return [("video", name) for name in self.names]

    def is_live(self, camera: str) -> bool:
        return camera != "file"

    def measuring(self) -> Any:
        return self

    def window(self) -> Window:
        """A second: frames take the service of their setting, and wait as in a queue."""
        self.now += 1
        used = Counter(dict(self.routes.of(name).setting)["width"] for name in self.names)
        service = self.slower * sum(WORK[size] * count for size, count in used.items()) / used.total()
        busy = service * FPS * len(self.names)
        most = (len(self.names) - 1) * service
        wait = min(most, 1 / FPS) if busy >= 1 else min(most, 3 * service * busy / (2 * (1 - busy)))
        latency = Histogram()
        for _ in range(20):
            latency.add(1.1 * service + wait)
        rates = {name: CameraRate(FPS, FPS * min(1, 1 / busy), 0.0) for name in self.names}
        values = {"Resize": int(FPS * len(self.names))}
        return Window(1.0, {"Resize": service}, rates, latency, 1.0, values)


class Known:
    """Stands in for what is learnt."""

    def __init__(self, *_: Any) -> None:
        self.costs: Mapping[Setting, Cost] = COSTS

    def start(self) -> None: ...

    def close(self) -> None: ...


class Judged:
    """A controller whose seconds pass one after the other."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, cameras: int, latency: str = "200 ms") -> None:
        monkeypatch.setattr(module, "Learning", Known)
        self.machine = Machine(graph(latency), cameras)
        self.goal = float(latency.split()[0]) / 1e3
        self.controller = Controller(self.machine, cores=2, clock=lambda: self.machine.now)  # type: ignore[arg-type]

    def seconds(self, count: int) -> list[float]:
        """The latencies of the next seconds."""
        latencies = []
        for _ in range(count):
            window = self.machine.window()
            latencies.append(window.latency.quantile(0.95) or 0.0)
            self.controller.look(window)
        return latencies

    @property
    def sizes(self) -> Counter[int]:
        return Counter(dict(self.machine.routes.of(name).setting)["width"] for name in self.machine.names)


def test_a_run_with_room_gets_the_most_accurate_setting_and_stays_there(monkeypatch: pytest.MonkeyPatch):
    run = Judged(monkeypatch, cameras=1)
    run.seconds(12)
    assert run.sizes == {640: 1}
    changes = len(run.controller.decisions)
    run.seconds(60)
    assert len(run.controller.decisions) == changes


@pytest.mark.parametrize("slower", [1.0, 2.0, 4.0])
def test_the_goal_is_kept_by_whatever_keeps_it_when_cameras_come_and_go(
    monkeypatch: pytest.MonkeyPatch, slower: float
):
    run = Judged(monkeypatch, cameras=4, latency="300 ms")
    run.machine.slower = slower
    for cameras in (4, 8, 4):
        run.machine.names = [f"c{number}" for number in range(cameras)]
        run.seconds(5)
        latencies = run.seconds(55)
        best = min(Machine_latency(run.machine, size) for size in WORK)
        if best <= run.goal:
            assert sum(latency <= run.goal for latency in latencies) >= 0.9 * len(latencies)
        else:
            assert run.sizes == {320: cameras}


def Machine_latency(machine: Machine, size: int) -> float:
    other = Machine(machine.graph, 0)
    other.names, other.slower = machine.names, machine.slower
    other.routes.first = at(size)
    return other.window().latency.quantile(0.95) or 0.0
