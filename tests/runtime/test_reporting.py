"""A report while a graph runs is about the last seconds, and about all of it in the end."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from flowedge import Event, Goal, Graph, Origin, choose
from flowedge.monitor.report import Decision, Report
from flowedge.runtime.limits import Limits
from flowedge.runtime.routes import Configuration
from flowedge.runtime.run import Run
from tests.runtime.fake_steps import SECONDS, Collect, Play, wait_until
from tests.runtime.test_routes import Mark


class Street:
    """A graph whose camera gives a frame when told, taken `late` seconds ago by a clock that is told."""

    def __init__(self, goal: Goal | None = None) -> None:
        self.now = 100.0
        self.came: list[Event] = []
        more = self._more = threading.Semaphore(0)
        ages: list[float] = []
        self._ages = ages

        def play(camera: str, stop: threading.Event) -> Iterator[Event]:
            index = 0
            while not stop.is_set():
                if more.acquire(timeout=0.05):
                    origin = Origin(camera, index=index, monotonic=self.now - ages[index])
                    yield Event(origin, "fact")
                    index += 1

        self.graph = Graph("street", goal=goal or Goal())
        frames = self.graph.source(Play({"north": ""}, play=play))
        frames >> Mark(choose("number", 1, 2)) >> Collect(self.came.append)

    def give(self, count: int, late: float) -> None:
        for _ in range(count):
            self._ages.append(late)
            self._more.release()
            wait_until(lambda: len(self.came) == len(self._ages))


@pytest.fixture
def limits() -> Limits:
    return Limits(rate_seconds=5.0, drain_seconds=1.0)


def test_times_and_rates_are_those_of_the_last_seconds_while_it_runs(limits: Limits) -> None:
    street = Street()
    with Run(street.graph, limits=limits, clock=lambda: street.now) as run:
        street.give(20, late=1.0)
        wait_until(lambda: run.report().cameras["north"].delivered == 20)  # before the clock goes on
        for _ in range(8):  # the slow frames are more than five seconds ago then
            street.now += 1.0
            run._reporter.sample()
        street.give(5, late=0.1)
        wait_until(lambda: run.report().cameras["north"].delivered == 25)
        street.now += 1.0
        now = run.report()
        assert now.cameras["north"].latency_ms["p99"] == pytest.approx(100, rel=0.02)
        assert now.latency_ms["p99"] == pytest.approx(100, rel=0.02)
        assert now.operators["Mark"].count == 25
        assert now.operators["Mark"].rate == pytest.approx(5 / 6, rel=0.25)
        run.stop()
        whole = run.wait(SECONDS)
    assert whole.latency_ms["p50"] == pytest.approx(1000, rel=0.02)


def test_the_knobs_in_force_are_those_of_the_next_frame(limits: Limits) -> None:
    street = Street()
    with Run(street.graph, limits=limits) as run:
        wait_until(lambda: "north" in run.report().cameras)
        assert (run.report().cameras["north"].knobs, run.report().cameras["north"].route) == ({"number": 1}, 0)
        run.routes.switch(Configuration((("number", 2),)), ["north"])
        assert (run.report().cameras["north"].knobs, run.report().cameras["north"].route) == ({"number": 2}, 1)


@pytest.mark.parametrize(
    ("goal", "met"),
    [
        (Goal(latency="2 s"), True),
        (Goal(latency="500 ms"), False),
        (Goal(accuracy=0.5), True),
        (Goal(accuracy=0.9), False),
        (Goal(latency="500 ms", accuracy=0.5), False),
    ],
)
def test_whether_the_goal_is_met(goal: Goal, met: bool, limits: Limits) -> None:
    street = Street(goal)
    with Run(street.graph, limits=limits, clock=lambda: street.now) as run:
        before = run.report().goal
        assert before is not None
        assert before.met is None
        run.decisions.add(Decision(1.0, "late", {"number=1": 1}, expected_accuracy=0.7))
        street.give(5, late=1.0)
        goal_of = run.report().goal
    assert goal_of is not None
    assert goal_of.met == met


def test_a_report_goes_through_json(limits: Limits) -> None:
    street = Street(Goal(latency="2 s"))
    with Run(street.graph, limits=limits) as run:
        run.decisions.add(Decision(1.0, "late", workers={"Mark": ("w1",)}, expected_fps=3.0))
        street.give(3, late=0.0)
        report = run.report()
    assert Report.from_json(report.as_json()) == report


@pytest.mark.parametrize("field", ["cameras", "latency_ms", "graph"])
def test_a_report_that_lacks_something_is_refused_by_name(field: str, limits: Limits) -> None:
    street = Street()
    with Run(street.graph, limits=limits) as run:
        data = run.report().as_json()
    del data[field]
    with pytest.raises(ValueError, match=f"^{field} is missing$"):
        Report.from_json(data)
