"""A run that gives up the cores for a while: nothing of files is lost, and what is known of cameras goes on."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, ClassVar

import numpy as np
import pytest

from flowedge import CodecParameters, Event, Graph, Operator, Packet, choose
from flowedge.errors import UserError
from flowedge.graph.contract import Source, State
from flowedge.plane.item import first_origin
from flowedge.runtime.routes import Configuration
from flowedge.runtime.run import Run
from tests.runtime.fake_steps import SECONDS, Collect, Feed, Play, event, index_of
from tests.runtime.worker_steps import Count as CountThere
from tests.runtime.worker_steps import Obey, command

LIFE: list[str] = []
"""What steps were set up and closed, in order."""


@dataclass
class Count(Operator[Event, Event]):
    """Numbers the events of each camera."""

    state: ClassVar[State] = State.PER_CAMERA
    number: int = 1
    _counts: Counter[str] | None = field(default=None, init=False, repr=False)

    def setup(self) -> None:
        LIFE.append(f"setup {self.name}")
        self._counts = Counter()

    def process(self, value: Event, /) -> Event:
        assert self._counts is not None
        camera = value.origin.camera
        self._counts[camera] += self.number
        return Event(value.origin, value.kind, {**value.data, "count": self._counts[camera]})

    def snapshot(self, camera: str) -> Any:
        assert self._counts is not None
        return self._counts[camera]

    def restore(self, camera: str, state: Any) -> None:
        assert self._counts is not None
        self._counts[camera] = state

    def close(self) -> None:
        LIFE.append(f"close {self.name}")
        self._counts = None


@dataclass
class Forgetful(Operator[Event, Event]):
    """Keeps state that cannot be had as a snapshot."""

    state: ClassVar[State] = State.PER_CAMERA
    _seen: int = field(default=0, init=False, repr=False)

    def process(self, value: Event, /) -> Event:
        self._seen += 1
        return Event(value.origin, value.kind, {**value.data, "seen": self._seen})

    def close(self) -> None:
        LIFE.append("close Forgetful")


class Came:
    """What a sink was given, to be waited for."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self._changed = threading.Condition()

    def take(self, value: Any) -> None:
        with self._changed:
            self.values.append(value)
            self._changed.notify_all()

    def wait(self, count: int) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: len(self.values) >= count, SECONDS)


@pytest.fixture(autouse=True)
def _life() -> None:
    LIFE.clear()


def counting(source: Source[Event], *steps: Operator[Any, Any]) -> tuple[Graph, Came]:
    graph, came = Graph("counting"), Came()
    stream: Any = graph.source(source)
    for step in steps:
        stream = stream >> step
    stream >> Collect(lambda value: came.take(value))
    return graph, came


def test_a_file_is_read_on_where_it_was_and_counts_go_on() -> None:
    total = 200
    graph, came = counting(Play({"north": ""}, play=lambda c, _: (event(c, n) for n in range(total))), Count())
    with Run(graph) as run:
        for turn in range(1, 4):
            assert came.wait(30 * turn)
            run.preempt("others come first")
            before = len(came.values)
            assert run.report().cameras["north"].state in ("preempted", "ended")
            assert run.report().cameras["north"].in_flight == 0
            assert len(came.values) == before
            run.resume("its turn")
        report = run.wait(SECONDS)
    assert [index_of(value) for value in came.values] == list(range(total))
    assert [value.data["count"] for value in came.values] == list(range(1, total + 1))
    assert (report.cameras["north"].delivered, report.cameras["north"].dropped) == (total, {})
    assert ["setup Count", *["close Count", "setup Count"] * 3, "close Count"] == LIFE


def test_a_live_camera_counts_what_it_gave_meanwhile_as_preempted() -> None:
    feed = Feed()
    graph, came = counting(feed.source("gate", live=True), Count())
    with Run(graph) as run:
        feed.push("gate", 0)
        assert came.wait(1)
        run.preempt("others come first")
        feed.push("gate", 1, 2, 3)
        feed.settle()
        report = run.report()
        assert report.cameras["gate"].dropped == {"preempted at source": 3}
        assert report.cameras["gate"].state == "preempted"
        run.resume("its turn")
        feed.push("gate", 4)
        assert came.wait(2)
        feed.end("gate")
        report = run.wait(SECONDS)
    assert [(index_of(value), value.data["count"]) for value in came.values] == [(0, 1), (4, 2)]
    camera = report.cameras["gate"]
    assert camera.produced == camera.delivered + sum(camera.dropped.values()) == 5


def test_the_report_says_why_and_for_how_long() -> None:
    now = [0.0]
    feed = Feed()
    graph, came = counting(feed.source("gate", live=True), Count())
    with Run(graph, clock=lambda: now[0]) as run:
        feed.push("gate", 0)
        assert came.wait(1)
        now[0] = 5.0
        run.preempt("others come first")
        now[0] = 12.0
        assert run.report().preempted_seconds == 7.0
        run.resume("its turn")
        now[0] = 20.0
        feed.end("gate")
        report = run.wait(SECONDS)
    assert (report.seconds, report.preempted_seconds) == (20.0, 7.0)
    assert [str(decision) for decision in report.decisions] == [
        "others come first: preempted",
        "its turn: goes on",
    ]
    assert [decision.at for decision in report.decisions] == [5.0, 12.0]


def packet(index: int, *, keyframe: bool) -> Packet:
    parameters = CodecParameters("h264", width=64, height=48)
    origin = first_origin(event("gate", index))
    return Packet(origin, np.zeros(4, np.uint8), parameters, keyframe, Fraction(1, 25), index)


def test_encoded_video_goes_on_with_a_key_frame() -> None:
    feed = Feed()
    graph, came = Graph("packets"), Came()
    graph.source(feed.source("gate", live=True)) >> Collect(lambda value: came.take(value))
    with Run(graph) as run:
        feed.push("gate", packet(0, keyframe=True))
        assert came.wait(1)
        run.preempt("others come first")
        feed.push("gate", packet(1, keyframe=True))
        feed.settle()
        run.resume("its turn")
        feed.push("gate", packet(2, keyframe=False), packet(3, keyframe=True), packet(4, keyframe=False))
        assert came.wait(3)
        feed.end("gate")
        report = run.wait(SECONDS)
    assert [index_of(value) for value in came.values] == [0, 3, 4]
    assert report.cameras["gate"].dropped == {"preempted at source": 2}


def test_a_camera_that_ends_meanwhile_ends_once_the_graph_goes_on() -> None:
    feed = Feed()
    graph, came = counting(feed.source("gate", live=True), Count())
    with Run(graph) as run:
        feed.push("gate", 0)
        assert came.wait(1)
        run.preempt("others come first")
        feed.end("gate")
        assert not run.finished_within(0.05)
        run.resume("its turn")
        assert run.finished_within(SECONDS)
        assert run.wait().cameras["gate"].delivered == 1


@pytest.mark.parametrize("live", [True, False])
def test_a_preempted_run_can_be_stopped(live: bool) -> None:
    feed = Feed()
    graph, came = counting(feed.source("gate", live=live), Count())
    with Run(graph) as run:
        feed.push("gate", 0)
        assert came.wait(1)
        run.preempt("others come first")
        run.stop()
        feed.end("gate")
        assert run.finished_within(SECONDS)
        report = run.wait()
    assert (report.cameras["gate"].delivered, report.cameras["gate"].in_flight) == (1, 0)
    assert LIFE == ["setup Count", "close Count"]


def test_what_has_no_snapshot_stays_as_it_is() -> None:
    feed = Feed()
    graph, came = counting(feed.source("gate", live=True), Forgetful(), Count())
    with Run(graph) as run:
        feed.push("gate", 0)
        assert came.wait(1)
        run.preempt("others come first")
        assert LIFE == ["setup Count", "close Count"]
        run.resume("its turn")
        feed.push("gate", 1)
        assert came.wait(2)
        feed.end("gate")
        run.wait(SECONDS)
    assert [(value.data["seen"], value.data["count"]) for value in came.values] == [(1, 1), (2, 2)]


def test_settings_stay_as_they_are_and_can_still_be_changed() -> None:
    feed = Feed()
    graph, came = counting(feed.source("gate", live=True), Count(choose("number", 1, 10, 100)))
    with Run(graph) as run:
        run.routes.switch(Configuration((("number", 10),)))
        feed.push("gate", 0)
        assert came.wait(1)
        run.preempt("others come first")
        run.resume("its turn")
        feed.push("gate", 1)
        assert came.wait(2)
        run.preempt("others come first")
        run.routes.switch(Configuration((("number", 100),)))
        run.routes.close_unused()
        run.resume("its turn")
        feed.push("gate", 2)
        assert came.wait(3)
        feed.end("gate")
        run.wait(SECONDS)
    assert [value.data["count"] for value in came.values] == [10, 20, 120]
    assert LIFE.count("setup Count") == LIFE.count("close Count")


def test_an_operator_that_cannot_be_set_up_again_ends_the_run() -> None:
    @dataclass
    class Gone(Operator[Event, Event]):
        def setup(self) -> None:
            LIFE.append("setup")
            if len(LIFE) > 1:
                raise UserError("its model is gone")

        def process(self, value: Event, /) -> Event:
            return value

    feed = Feed()
    graph, came = counting(feed.source("gate", live=True), Gone())
    with Run(graph) as run:
        feed.push("gate", 0)
        assert came.wait(1)
        run.preempt("others come first")
        run.resume("its turn")
        feed.end("gate")
        with pytest.raises(UserError, match="its model is gone"):
            run.wait(SECONDS)


def test_operators_on_workers_go_on_there() -> None:
    feed = Feed()
    graph, came = Graph("far"), Came()
    stream: Any = graph.source(feed.source("gate", live=False)) >> Obey() >> CountThere()
    stream >> Collect(lambda value: came.take(value))
    there = Configuration((), {"Obey": ("w1",), "Count": ("w1",)})
    with Run(graph) as run:
        run.routes.switch(there)
        feed.push("gate", command(0, camera="gate"), command(1, camera="gate"))
        assert came.wait(2)
        run.routes.close_unused()
        for turn in (1, 2):
            run.preempt("others come first")
            run.resume("its turn")
            feed.push("gate", command(turn + 1, camera="gate"))
            assert came.wait(turn + 2)
        feed.end("gate")
        report = run.wait(SECONDS)
    assert [value.data["count"] for value in came.values] == [1, 2, 3, 4]
    assert report.operators["Obey"].workers == ("w1",)
    assert report.cameras["gate"].delivered == 4
