"""Cameras that come and go while the graph runs."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from flowedge import ConfigError, Event, Graph, GraphError, Operator, Origin, Sink, join
from flowedge.outputs import OutputPaths
from flowedge.runtime.run import Run
from tests.runtime.fake_steps import (
    FILE_WINDOW,
    Apply,
    Collect,
    Feed,
    Play,
    Turnstile,
    by_camera,
    event,
    file,
    finish,
    passed,
    wait_until,
)


@dataclass
class PerCamera(Operator[Event, Event]):
    per_camera = ("factor",)

    factor: Mapping[str, int]

    def process(self, event: Event, /) -> Event:
        return event


@dataclass
class OneFile(Sink[Event]):
    path_field = "path"

    path: str

    def check_outputs(self, cameras: Sequence[str]) -> None:
        OutputPaths(self.path).check(cameras)

    def write(self, event: Event, /) -> None: ...


@pytest.fixture
def feed() -> Feed:
    return Feed()


def test_a_camera_can_be_added_while_the_graph_runs(feed):
    graph, came = Graph("test"), []
    graph.source(feed.source("north", live=False)) >> Apply(passed) >> Collect(came.append)
    with Run(graph) as run:
        feed.push("north", 0)
        run.add_camera("south", "test://")
        feed.push("south", 0, 1)
        feed.end("north", "south")
        finish(run)
    assert by_camera(came) == {"north": [0], "south": [0, 1]}
    assert list(graph.node("Play").step.cameras) == ["north"]


def test_a_camera_can_be_removed_and_what_it_gave_is_delivered(feed):
    graph, came, ended = Graph("test"), [], []
    stream = graph.source(feed.source("north", "south", live=False))
    stream >> Apply(passed) >> Collect(came.append, ended.append)
    with Run(graph) as run:
        feed.push("north", 0, 1)
        feed.settle()
        run.remove_camera("north")
        wait_until(lambda: ended == ["north"])
        feed.push("south", 0)
        feed.end("south")
        finish(run)
    assert by_camera(came) == {"north": [0, 1], "south": [0]}


def test_a_camera_can_be_removed_while_its_file_waits_for_room():
    graph, gate = Graph("test"), Turnstile()
    file(graph, 100, ["north", "south"]) >> Collect(lambda value: gate.pass_through(value))
    with Run(graph) as run:
        gate.await_entry()
        wait_until(lambda: run.report().cameras["north"].produced == FILE_WINDOW)
        run.remove_camera("north")
        gate.open()
        report = finish(run)
    assert report.cameras["north"].produced == FILE_WINDOW
    assert report.cameras["south"].delivered == 100


def test_a_camera_can_be_removed_and_added_again(feed):
    graph, came, ended = Graph("test"), [], []
    stream = graph.source(feed.source("north", "south", live=False))
    join(stream, stream >> Apply(passed)) >> Collect(came.append, ended.append)
    with Run(graph) as run:
        for n in range(3):
            feed.push("north", 0, 1)
            feed.settle()
            run.remove_camera("north")
            wait_until(lambda n=n: ended == ["north"] * (n + 1))
            run.add_camera("north", "test://again")
        feed.end("north", "south")
        report = finish(run)
    assert by_camera(came) == {"north": [0, 1] * 3}
    assert [value[0].origin.session for value in came] == [0, 0, 1, 1, 2, 2]
    assert [value[1].origin.session for value in came] == [0, 0, 1, 1, 2, 2]
    assert report.cameras["north"].delivered == 6


def test_what_a_camera_reads_from_is_closed_when_it_is_stopped():
    graph, readers = Graph("test"), []

    def play(camera: str, _: threading.Event) -> Any:
        readers.append(event(camera, index) for index in itertools.count())
        return readers[0]

    graph.source(Play({"north": "test://"}, play)) >> Collect()
    with Run(graph) as run:
        wait_until(lambda: run.report().cameras["north"].delivered)
    assert readers[0].gi_frame is None


def test_a_camera_attached_again_goes_on_after_the_sessions_of_its_reconnects(feed):
    graph, sessions, ended = Graph("test"), [], []
    take = lambda value: sessions.append(value.origin.session)  # noqa: E731
    graph.source(feed.source("north", "south", live=False)) >> Collect(take, ended.append)
    with Run(graph) as run:
        for attached in range(2):
            feed.push("north", *(Event(Origin("north", session, session), "fact") for session in (0, 1)))
            feed.settle()
            run.remove_camera("north")
            wait_until(lambda attached=attached: len(ended) > attached)
            run.add_camera("north", "test://again")
        feed.end("north", "south")
        finish(run)
    assert sessions == [0, 1, 2, 3]


def test_a_camera_may_come_again_at_another_source(feed):
    graph, one, two, ended = Graph("test"), [], [], []
    first = feed.source("north", "south", live=False)
    second = Play({"east": "test://"}, first.play, as_live=True, name="second")
    graph.source(first) >> Collect(one.append, ended.append, name="one")
    graph.source(second) >> Collect(two.append, name="two")
    with Run(graph) as run:
        feed.push("north", 0)
        feed.settle()
        run.remove_camera("north")
        wait_until(lambda: ended)
        run.add_camera("north", "test://", source="second")
        feed.push("north", 1)
        feed.end("north", "south", "east")
        report = finish(run)
    assert by_camera(one) == {"north": [0]}
    assert by_camera(two) == {"north": [1]}
    assert report.cameras["north"].delivered == 2


def test_cameras_that_cannot_be_added_or_removed_are_refused(feed):
    graph = Graph("test")
    graph.source(feed.source("north", live=False)) >> Collect()
    with Run(graph) as run:
        with pytest.raises(GraphError, match='a camera named "north" is running already'):
            run.add_camera("north", "test://")
        with pytest.raises(ConfigError, match="cameras"):
            run.add_camera("no/name", "test://")
        with pytest.raises(GraphError, match="no source"):
            run.add_camera("south", "test://", source="other")
        with pytest.raises(GraphError, match="no camera 'south' runs"):
            run.remove_camera("south")
        feed.end("north")
        finish(run)


def test_a_camera_that_a_mapping_has_no_value_for_is_not_added(feed):
    graph = Graph("test")
    graph.source(feed.source("north", live=False)) >> PerCamera({"north": 1}) >> Collect()
    with Run(graph) as run:
        with pytest.raises(ConfigError, match=r"PerCamera\.factor: there is no value for the camera south"):
            run.add_camera("south", "test://")
        assert list(run.report().cameras) == ["north"]
        feed.end("north")
        finish(run)


def test_a_camera_whose_file_another_has_is_not_added(feed, tmp_path):
    graph = Graph("test")
    graph.source(feed.source("north", live=False)) >> OneFile(str(tmp_path / "out.txt"))
    with Run(graph) as run:
        with pytest.raises(ConfigError, match=r"would hold the cameras north and south: put \{camera\} in it"):
            run.add_camera("south", "test://")
        feed.end("north")
        finish(run)


def test_cameras_of_a_mapping_may_come_one_by_one(feed):
    graph = Graph("test")
    graph.source(feed.source(live=False)) >> PerCamera({"north": 1, "south": 2}) >> Collect()
    with Run(graph) as run:
        run.add_camera("north", "test://")
        run.add_camera("south", "test://")
        feed.end("north", "south")
        finish(run)


def test_no_camera_can_be_added_to_a_run_that_stops_or_has_ended(feed):
    graph, gate = Graph("test"), Turnstile()
    graph.source(feed.source("north", live=False)) >> Collect(lambda value: gate.pass_through(value))
    with Run(graph) as run:
        feed.push("north", 0)
        gate.await_entry()
        run.stop()
        with pytest.raises(GraphError, match=r"south.*the run is ending"):
            run.add_camera("south", "test://")
        gate.open()
        finish(run)
        with pytest.raises(GraphError, match=r"south.*the run is ending"):
            run.add_camera("south", "test://")
