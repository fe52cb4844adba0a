"""A running graph changes its settings between two frames; nothing is lost, repeated or mixed."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pytest

from flowedge import ConfigError, Event, Gather, Graph, Operator, Origin, Split, choose
from flowedge.graph.contract import State
from flowedge.runtime.routes import Configuration, first_setting
from flowedge.runtime.run import Run
from tests.runtime.fake_steps import SECONDS, Collect, Play, event, index_of, wait_until

CLOSED: list[str] = []


def at(**setting: Any) -> Configuration:
    return Configuration(tuple(sorted(setting.items())))


@dataclass
class Mark(Operator[Event, Event]):
    """Notes its setting on each event."""

    number: int

    def process(self, value: Event, /) -> Event:
        return Event(value.origin, value.kind, {**value.data, self.name: self.number})

    def close(self) -> None:
        CLOSED.append(f"{self.name}={self.number}")


@dataclass
class Count(Operator[Event, Event]):
    """Numbers the events of each camera."""

    state: ClassVar[State] = State.PER_CAMERA
    number: int
    _counts: Counter[str] = field(default_factory=Counter, init=False, repr=False)

    def process(self, value: Event, /) -> Event:
        camera = value.origin.camera
        self._counts[camera] += 1
        return Event(value.origin, value.kind, {**value.data, "count": self._counts[camera]})

    def flush(self, camera: str) -> Sequence[Event]:
        self._counts.pop(camera, None)
        return ()

    def snapshot(self, camera: str) -> Any:
        return self._counts[camera]

    def restore(self, camera: str, state: Any) -> None:
        self._counts[camera] = state


@dataclass
class Cut(Split[Event, Event]):
    parts: int

    def split(self, value: Event, /) -> Sequence[Event]:
        return [value] * self.parts


@dataclass
class Paste(Gather[Event, Event]):
    def gather(self, parts: Sequence[Event], /) -> Event:
        return Event(parts[0].origin, "fact", {**parts[0].data, "parts": len(parts)})


class Feed:
    """`play` gives the frames of a file one by one, when told by `give`."""

    def __init__(self, frames: int) -> None:
        more = self._more = threading.Semaphore(0)

        def play(
            camera: str, stop: threading.Event
        ) -> Iterator[Event]:  # a method would be copied with its lock
            for index in range(frames):
                while not more.acquire(timeout=0.05):
                    if stop.is_set():
                        return
                yield event(camera, index)

        self.play = play

    def give(self, frames: int) -> None:
        self._more.release(frames)


def graph_of(feed: Feed, cameras: Sequence[str] = ("north",)) -> tuple[Graph, list[Event]]:
    """Two operators that share a knob, tiles, and one with state."""
    graph, came = Graph("switching"), []
    number = choose("number", 1, 2, 3)
    stream = graph.source(Play(dict.fromkeys(cameras, ""), play=feed.play)) >> Mark(number, name="first")
    parts = stream >> Cut(choose("parts", 1, 2, 4)) >> Mark(number, name="second")
    parts >> Paste() >> Count(number) >> Collect(came.append)
    return graph, came


def test_a_frame_goes_all_its_way_in_one_setting_and_state_goes_on():
    feed = Feed(300)
    graph, came = graph_of(feed, ["north", "south"])
    draws = random.Random(1)
    with Run(graph) as run:
        for turn in range(30):
            feed.give(20)  # of both cameras together
            wait_until(lambda turn=turn: len(came) >= 20 * turn + 10)  # frames are on their way at the switch
            wanted = at(number=draws.choice((1, 2, 3)), parts=draws.choice((1, 2, 4)))
            cameras = draws.choice((None, ["north"], ["south"]))
            run.routes.switch(wanted, cameras)
        report = run.wait(SECONDS)
    assert all(value.data["first"] == value.data["second"] for value in came)
    for camera in ("north", "south"):
        mine = [value for value in came if value.origin.camera == camera]
        assert [index_of(value) for value in mine] == list(range(300))
        assert [value.data["count"] for value in mine] == list(range(1, 301))
        counts = report.cameras[camera]
        assert (counts.produced, counts.delivered) == (300, 300)
    assert len({(value.data["first"], value.data["parts"]) for value in came}) > 3


def test_copies_are_closed_when_their_last_frame_has_left():
    CLOSED.clear()
    feed = Feed(2)
    graph, came = graph_of(feed)
    with Run(graph) as run:
        feed.give(1)
        wait_until(lambda: len(came) == 1)
        run.routes.switch(at(number=2, parts=1))
        run.routes.close_unused()
        feed.give(1)  # the camera's state goes over with its next frame
        assert run.finished_within(SECONDS)
        run.routes.close_unused()
        assert run.routes.wait_closed(SECONDS)
        assert {"first=1", "second=1"} <= set(CLOSED)
    assert sorted(CLOSED) == ["first=1", "first=2", "second=1", "second=2"]


def test_nobody_waits_for_an_operator_that_takes_long_to_close():
    feed, closing, released, came = Feed(3), threading.Event(), threading.Event(), []

    @dataclass
    class SlowToClose(Mark):
        def close(self) -> None:
            if not closing.is_set():
                closing.set()
                assert released.wait(SECONDS)

    graph = Graph("closing")
    (
        graph.source(Play({"north": ""}, play=feed.play))
        >> SlowToClose(choose("number", 1, 2))
        >> Collect(came.append)
    )
    with Run(graph) as run:
        for number in (2, 1):
            run.routes.switch(at(number=number))
            feed.give(1)
            wait_until(lambda: len(came) == 3 - number)  # noqa: B023
            run.routes.close_unused()
            assert closing.wait(SECONDS)
        assert not run.routes.wait_closed(0.0)
        released.set()
        assert run.routes.wait_closed(SECONDS)
        feed.give(1)
        assert run.wait(SECONDS).cameras["north"].delivered == 3


def test_a_configuration_that_is_kept_stays_set_up():
    CLOSED.clear()
    feed = Feed(3)
    graph, came = graph_of(feed)
    with Run(graph) as run:
        former = at(number=1, parts=1)
        run.routes.switch(former)
        run.routes.keep([former])
        run.routes.switch(at(number=2, parts=1))
        feed.give(1)
        wait_until(lambda: len(came) == 1)
        run.routes.close_unused()
        assert not CLOSED
        run.routes.keep([])
        run.routes.close_unused()
        assert sorted(CLOSED) == ["first=1", "second=1"]
        feed.give(2)
        assert run.finished_within(SECONDS)


def test_a_setting_that_cannot_be_set_up_changes_nothing():
    feed = Feed(2)
    graph, came = Graph("failing"), []

    def refuse() -> None:
        raise ConfigError("Mark.number: 2 is not to be had")

    @dataclass
    class Choosy(Mark):
        def setup(self) -> None:
            if self.number == 2:
                refuse()

    graph.source(Play({"north": ""}, play=feed.play)) >> Choosy(choose("number", 1, 2)) >> Collect(came.append)
    with Run(graph) as run:
        with pytest.raises(ConfigError, match="not to be had"):
            run.routes.switch(at(number=2))
        feed.give(2)
        run.wait(SECONDS)
    assert [value.data["Choosy"] for value in came] == [1, 1]


def test_the_setting_of_a_sink_cannot_change():
    graph = Graph("sink")
    graph.source(Play({"north": ""}, play=Feed(1).play)) >> Noted(size=choose("size", 1, 2))
    with Run(graph) as run:
        assert run.routes.of("north").setting == first_setting(graph) == (("size", 1),)
        with pytest.raises(ConfigError, match="Noted: its setting cannot change while it runs"):
            run.routes.switch(at(size=2))


@dataclass
class Noted(Collect):
    size: int = field(default=1, kw_only=True)


def test_a_camera_that_comes_later_goes_by_the_route_of_all():
    feed = Feed(3)
    graph, came = graph_of(feed)
    with Run(graph) as run:
        run.routes.switch(at(number=3, parts=2))
        run.add_camera("south", "")
        feed.give(6)
        run.wait(SECONDS)
    assert {(value.origin.camera, value.data["first"], value.data["parts"]) for value in came} == {
        ("north", 3, 2),
        ("south", 3, 2),
    }
    assert Origin("north", index=0).frame_id in {value.origin.frame_id for value in came}


def test_the_route_of_a_camera_is_not_closed_while_it_is_looked_up(monkeypatch):
    feed = Feed(1)
    graph, _ = graph_of(feed)
    with Run(graph) as run:
        routes, look_up, changed = run.routes, run._ledger.route_of, threading.Event()
        routes.switch(at(number=1, parts=1))

        def change() -> None:
            routes.switch(at(number=2, parts=1))
            routes.close_unused()
            changed.set()

        def look_up_late(camera: str) -> int:
            number = look_up(camera)
            threading.Thread(target=change).start()
            changed.wait(0.2)  # in vain, as nothing changes before the answer
            return number

        monkeypatch.setattr(run._ledger, "route_of", look_up_late)
        assert routes.of("north") == at(number=1, parts=1)
        assert changed.wait(SECONDS)
        feed.give(1)
        run.wait(SECONDS)
