"""The controller of a run that is none: what it does follows from windows that the tests make."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from flowedge import Goal, Graph, choose
from flowedge.monitor.histogram import Histogram
from flowedge.monitor.report import Decision
from flowedge.operators import Detect, NonMaxMerge, Null, Resize, Slice, video
from flowedge.planner.model.profiles import Setting
from flowedge.runtime.controller import controller as module
from flowedge.runtime.controller.adaptation import Cost
from flowedge.runtime.controller.controller import ROTATION_SECONDS, Controller
from flowedge.runtime.controller.observation import by_frame
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

    def keep(self, configurations: Collection[Configuration]) -> None: ...

    def switch(self, wanted: Configuration, cameras: Collection[str] | None = None) -> None:
        if cameras is None:
            self.first, self.settings = wanted.setting, {}
        for camera in cameras or ():
            self.switches += self.of(camera) != wanted
            self.settings[camera] = wanted.setting


class Noted:
    """Keeps what was decided."""

    def __init__(self) -> None:
        self._all: list[Decision] = []

    def add(self, decision: Decision) -> None:
        self._all.append(decision)

    def so_far(self) -> tuple[Decision, ...]:
        return tuple(self._all)


class Machine:
    """Stands in for a run: one operator serves cameras in step in turn, each frame in its work x `slower`."""

    def __init__(self, made: Graph, cameras: int) -> None:
        self.graph = made
        self.routes = Routes(first_setting(made))
        self.decisions = Noted()
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

    def latency_of_all(self, size: int) -> float:
        """The latency (s) if all cameras had one size."""
        other = Machine(self.graph, 0)
        other.names, other.slower, other.routes.first = self.names, self.slower, at(size)
        return other.window().latency.quantile(0.95) or 0.0

    def window(self) -> Window:
        """A second: frames take the service of their setting, and wait as in a queue."""
        self.now += 1
        used = Counter(dict(self.routes.of(name).setting)["width"] for name in self.names)
        service = self.slower * sum(WORK[size] * count for size, count in used.items()) / used.total()
        busy = service * FPS * len(self.names)
        latency = Histogram()
        for turn in range(len(self.names)):  # the newest frame is no older than its camera's interval
            latency.add(1.1 * service + min(1.1 * service * turn, 1 / FPS))
        rates = {name: CameraRate(FPS, FPS * min(1, 1 / busy), 0.0) for name in self.names}
        values = {"Resize": int(FPS * len(self.names))}
        return Window(1.0, {"Resize": service}, values, rates, latency, 1.0)


class Known:
    """Stands in for what is learnt."""

    def __init__(self, *_: Any, **__: Any) -> None:
        self.costs: Mapping[Setting, Cost] = COSTS

    def start(self) -> None: ...

    def close(self) -> None: ...


class Home:
    """Stands in for who gives operators to workers, and gives none away."""

    def __init__(self, *_: Any, **__: Any) -> None:
        self.lock, self.workers = nullcontext(), dict[str, tuple[str, ...]]()


class Judged:
    """A controller whose seconds pass one after the other."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, cameras: int, latency: str = "200 ms") -> None:
        monkeypatch.setattr(module, "Learning", Known)
        monkeypatch.setattr(module, "Offloading", Home)
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
    changes = len(run.machine.decisions.so_far())
    run.seconds(60)
    assert len(run.machine.decisions.so_far()) == changes


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
        if run.machine.latency_of_all(320) <= run.goal:
            assert sum(latency <= run.goal for latency in latencies) >= 0.9 * len(latencies)
        else:
            assert run.sizes == {320: cameras}
    assert len(run.machine.decisions.so_far()) <= 8


def test_what_is_expected_is_what_comes(monkeypatch: pytest.MonkeyPatch):
    run = Judged(monkeypatch, cameras=4, latency="300 ms")
    for cameras in (4, 8, 2):
        run.machine.names = [f"c{number}" for number in range(cameras)]
        run.seconds(6)
        [*_, came] = run.seconds(1)
        assert run.machine.decisions.so_far()[-1].expected_latency == pytest.approx(came, rel=0.15)


def test_another_program_has_less_taken_and_then_more_again(monkeypatch: pytest.MonkeyPatch):
    run = Judged(monkeypatch, cameras=2, latency="120 ms")
    run.seconds(10)
    alone = run.sizes
    run.machine.slower = 2.5
    run.seconds(5)
    assert max(run.seconds(20)) <= run.goal
    assert sum(run.sizes.elements()) < sum(alone.elements())
    run.machine.slower = 1.0
    run.seconds(60)
    assert run.sizes == alone


def test_cameras_take_turns_where_they_differ(monkeypatch: pytest.MonkeyPatch):
    run = Judged(monkeypatch, cameras=4, latency="260 ms")
    run.seconds(6)
    assert len(run.sizes) == 2
    had: dict[str, set[int]] = {name: set() for name in run.machine.names}
    for _ in range(5):
        for name in run.machine.names:
            had[name].add(dict(run.machine.routes.of(name).setting)["width"])
        run.seconds(int(ROTATION_SECONDS))
    assert all(len(sizes) == 2 for sizes in had.values())


def test_a_camera_that_gives_nothing_in_a_second_has_not_gone(monkeypatch: pytest.MonkeyPatch):
    run = Judged(monkeypatch, cameras=2)
    run.seconds(10)
    changes = len(run.machine.decisions.so_far())
    for second in range(10):
        window = run.machine.window()
        rates = {**window.cameras, f"c{second % 2}": CameraRate(0.0, 0.0, 0.0)}
        run.controller.look(replace(window, cameras=rates))
    assert len(run.machine.decisions.so_far()) == changes


def test_a_goal_that_is_missed_before_anything_is_known_leads_somewhere(monkeypatch: pytest.MonkeyPatch):
    run = Judged(monkeypatch, cameras=4, latency="200 ms")
    run.controller._learning.costs = {}
    run.machine.slower = 2.0
    run.seconds(20)
    assert run.sizes == {320: 4}
    assert max(run.seconds(10)) <= run.goal
    run.controller._learning.costs = COSTS
    run.seconds(10)
    assert max(run.seconds(10)) <= run.goal


def test_files_are_left_alone(monkeypatch: pytest.MonkeyPatch):
    run = Judged(monkeypatch, cameras=0)
    run.machine.names = ["file"]
    run.seconds(20)
    assert not run.machine.decisions.so_far()


def test_tiles_count_as_parts_of_their_frame():
    made = Graph("sliced")
    video(made, "street://") >> Slice(2) >> Detect("street") >> NonMaxMerge() >> Null()
    service = {"Slice": 0.001, "Detect": 0.02, "NonMaxMerge": 0.003}
    values = {"Slice": 10, "Detect": 30, "NonMaxMerge": 10}
    window = Window(1.0, service, values, {}, Histogram(), 1.0)
    assert by_frame(made, window) == pytest.approx({**service, "Detect": 0.06})


def test_windows_together_are_one():
    one, two = Histogram(), Histogram()
    one.add(0.1)
    two.add(0.2)
    whole = together(
        [
            Window(1.0, {"A": 0.1}, {"A": 1}, {"c": CameraRate(2.0, 2.0, 0.0)}, one, 1.0),
            Window(3.0, {"A": 0.2}, {"A": 1}, {"c": CameraRate(6.0, 4.0, 2.0)}, two, 2.0),
        ]
    )
    assert whole.seconds == 4.0
    assert whole.service == pytest.approx({"A": 0.175})
    assert whole.cameras == {"c": CameraRate(5.0, 3.5, 1.5)}
    assert (len(whole.latency), whole.cores) == (2, 1.75)
