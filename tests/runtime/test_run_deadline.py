"""A live graph with a latency goal: frames that waited and would miss it give way to those behind them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from flowedge import Event, Goal, Graph, Origin
from flowedge.runtime.run import Run
from tests.runtime.fake_steps import SECONDS, Apply, Collect, Play, index_of, wait_until

CAMERAS = ("north", "south", "east", "west")


class Street:
    """Cameras that all capture at the same moment, and a step that takes 0.2 s of a clock of their own.

    North gives one frame alone, then every camera one when told by `all_of_them`.
    """

    def __init__(self) -> None:
        self.now = 100.0
        self.all_of_them, self.all_wait = threading.Event(), threading.Event()

    def __deepcopy__(self, _: Any) -> Street:
        return self  # a running step is a copy, whose methods are those of this

    def play(self, camera: str, stop: threading.Event) -> Iterator[Event]:
        if camera == "north":
            yield self._event(camera, 0)
        assert self.all_of_them.wait(SECONDS)
        yield self._event(camera, 1)
        stop.wait(SECONDS)

    def work(self, value: Any) -> Any:
        if index_of(value) == 1 and not self.all_wait.is_set():
            assert self.all_wait.wait(SECONDS)
        self.now += 0.2
        return value

    def _event(self, camera: str, index: int) -> Event:
        return Event(Origin(camera, index=index, monotonic=self.now), "fact")


@pytest.mark.parametrize(("goal", "late"), [("300 ms", 3), ("500 ms", 2), ("10 s", 0), (None, 0)])
def test_frames_that_would_miss_the_goal_are_dropped_before_the_work(goal: str | None, late: int):
    street, came = Street(), []
    graph = Graph("crossing", goal=Goal(latency=goal))
    cameras = dict.fromkeys(CAMERAS, "")
    graph.source(Play(cameras, street.play, as_live=True)) >> Apply(street.work) >> Collect(came.append)
    with Run(graph, clock=lambda: street.now) as run:
        wait_until(lambda: run.report().cameras["north"].delivered == 1)
        street.all_of_them.set()
        inbox: Any = run._wiring.runners["Apply"].inbox
        wait_until(lambda: len(inbox._cells) == len(CAMERAS) - 1)
        street.all_wait.set()
        wait_until(lambda: sum(counts.in_flight for counts in run.report().cameras.values()) == 0)
        report = run.report()
    dropped = [counts.dropped for counts in report.cameras.values() if counts.dropped]
    assert dropped == [{"too late at Apply": 1}] * late
    assert len(came) == 1 + len(CAMERAS) - late
