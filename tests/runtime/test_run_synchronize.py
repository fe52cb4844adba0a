"""Runs in which two cameras meet: what is paired, how it is counted, and that nothing waits for ever."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from flowedge import Event, Graph, GraphError, Origin, SourceError, Stream, synchronize, unzip
from flowedge.runtime.run import Run
from tests.runtime.fake_steps import (
    SECONDS,
    Apply,
    Collect,
    Feed,
    Late,
    Play,
    Turnstile,
    finish,
    index_of,
    wait_until,
)

Plays = Mapping[str, Callable[[], Iterator[Event]]]


def filmed(camera: str, fps: float, count: int) -> Callable[[], Iterator[Event]]:
    """A file of so many frames."""
    origins = (Origin(camera, index=i, media=i / fps) for i in range(count))
    return lambda: iter([Event(origin, "frame") for origin in origins])


def files(graph: Graph, plays: Plays, name: str = "Play") -> Stream[Event]:
    return graph.source(Play(dict.fromkeys(plays, "test://"), lambda camera, _: plays[camera](), name=name))


def shown(pair: Any) -> tuple[int, int]:
    return index_of(pair[0]), index_of(pair[1])


@pytest.mark.parametrize("lengths", [(100, 40), (100, 10), (30, 100), (0, 30)])
def test_files_of_other_rates_and_lengths_are_paired_to_their_ends(lengths):
    pairs: list[Any] = []
    graph = Graph("pairs")
    plays = {"north": filmed("north", 25, lengths[0]), "south": filmed("south", 10, lengths[1])}
    synchronize(files(graph, plays), cameras=("north", "south")) >> Collect(pairs.append)
    with Run(graph) as run:
        report = finish(run)
    assert all(abs(a.origin.media - b.origin.media) <= 0.04 for a, b in pairs)
    expected = sum(south / 10 < lengths[0] / 25 for south in range(lengths[1]))
    assert len(pairs) >= expected - 1
    for camera, length in zip(("north", "south"), lengths, strict=True):
        counts = report.cameras[camera].sinks["Collect"] if length else report.cameras[camera]
        assert counts.produced == length
        assert counts.delivered == len(pairs)
        assert sum(counts.dropped.values()) == length - len(pairs)
        assert set(counts.dropped) <= {"no partner at Synchronize"}


def test_two_sources_meet_and_pairs_come_in_order():
    pairs: list[Any] = []
    graph = Graph("pairs")
    north = files(graph, {"north": filmed("north", 25, 60)}, "north")
    south = files(graph, {"south": filmed("south", 25, 60)}, "south")
    synchronize(north >> Apply(lambda value: value), south) >> Collect(pairs.append)
    with Run(graph) as run:
        finish(run)
    assert [shown(pair) for pair in pairs] == [(i, i) for i in range(60)]


def test_a_pair_goes_through_every_kind_of_step_and_both_frames_end_as_it_does():
    got: list[Any] = []
    graph = Graph("pairs")
    plays = {camera: filmed(camera, 25, 40) for camera in ("north", "south")}
    pairs = synchronize(files(graph, plays), cameras=("north", "south"))
    left, right = unzip(pairs)
    even = left >> Apply(lambda value: None if value.origin.index % 2 else value, name="even")
    even >> Collect(got.append)
    late = left >> Late(by=3)
    late >> Collect(name="late")
    right >> Apply(fail_at_3, name="fails") >> Collect(name="right")
    with Run(graph) as run:
        report = finish(run)
    for camera in ("north", "south"):
        sinks = report.cameras[camera].sinks
        assert (sinks["Collect"].delivered, sinks["Collect"].filtered) == (20, 20)
        assert sinks["late"].delivered == 40
        assert (sinks["right"].delivered, sinks["right"].failed) == (39, 1)
    assert {value.origin.camera for value in got} == {"north"}


def fail_at_3(value: Event) -> Event:
    if value.origin.index == 3:
        raise ValueError("three")
    return value


def test_three_cameras_meet_two_by_two():
    triples: list[Any] = []
    graph = Graph("triples")
    north, south, east = (
        files(graph, {name: filmed(name, fps, 40)}, name)
        for name, fps in (("north", 25), ("south", 25), ("east", 12.5))
    )
    two = synchronize(north, south, name="two")
    synchronize(two, east, name="three") >> Collect(triples.append)
    with Run(graph) as run:
        report = finish(run)
    assert [(*shown(two), index_of(east)) for two, east in triples] == [(2 * i, 2 * i, i) for i in range(20)]
    assert report.cameras["south"].dropped == {"no partner at three": 20}


def test_every_two_of_three_files_may_be_paired_without_a_deadlock():
    graph = Graph("ring")
    names = ("north", "south", "east")
    streams = [
        files(graph, {name: filmed(name, fps, 50)}, name) for name, fps in zip(names, (25, 10, 30), strict=True)
    ]
    for i, name in enumerate(names):
        synchronize(streams[i], streams[i - 1], name=f"{name}-pair") >> Collect(name=f"{name}-sink")
    with Run(graph) as run:
        finish(run)


def test_a_file_that_is_filtered_does_not_hold_up_the_other():
    graph = Graph("pairs")
    north, south = (files(graph, {name: filmed(name, 25, 60)}, name) for name in ("north", "south"))
    rare = north >> Apply(lambda value: value if value.origin.index == 50 else None)
    pairs: list[Any] = []
    synchronize(rare, south) >> Collect(pairs.append)
    with Run(graph) as run:
        finish(run)
    assert [shown(pair) for pair in pairs] == [(50, 50)]


def test_a_file_that_breaks_off_leaves_the_other_without_partners():
    def breaks() -> Iterator[Event]:
        yield from filmed("south", 25, 5)()
        raise SourceError("failed", "south breaks off")

    pairs: list[Any] = []
    graph = Graph("pairs")
    plays = {"north": filmed("north", 25, 30), "south": breaks}
    synchronize(files(graph, plays), cameras=("north", "south")) >> Collect(pairs.append)
    with Run(graph) as run:
        report = finish(run)
    assert len(pairs) == 5
    assert report.cameras["north"].dropped == {"no partner at Synchronize": 25}


def test_a_live_camera_that_is_silent_keeps_the_other_for_the_deadline_only():
    feed, graph, now = Feed(), Graph("pairs"), [100.0]
    stream = graph.source(feed.source("north", "south", live=True))
    pairs: list[Any] = []
    synchronize(stream, cameras=("north", "south"), deadline=0.02) >> Collect(pairs.append)
    with Run(graph, clock=lambda: now[0]) as run:
        feed.push("north", Event(Origin("north", index=0, monotonic=now[0]), "frame"))
        feed.settle()
        now[0] += 0.03
        wait_until(lambda: run.report().cameras["north"].dropped)
        assert run.report().cameras["north"].dropped == {"partner overdue at Synchronize": 1}
        for camera in ("south", "north"):
            feed.push(camera, Event(Origin(camera, index=1, monotonic=now[0]), "frame"))
        wait_until(lambda: pairs)
        feed.end("south", "north")
        finish(run)
    assert [shown(pair) for pair in pairs] == [(1, 1)]


def test_behind_a_slow_step_live_pairs_give_way_to_newer_ones():
    feed, graph, turnstile = Feed(), Graph("pairs"), Turnstile()
    stream = graph.source(feed.source("north", "south", live=True))
    got: list[Any] = []
    pairs = synchronize(stream, cameras=("north", "south"), deadline=SECONDS)
    pairs >> turnstile.step() >> Collect(got.append)
    with Run(graph) as run:
        for index in range(6):
            moment = 100.0 + index
            for camera in ("north", "south"):
                feed.push(camera, Event(Origin(camera, index=index, monotonic=moment), "frame"))
            if index == 0:
                turnstile.await_entry()
        wait_until(lambda: sum(run.report().cameras["south"].dropped.values()) == 4)
        turnstile.let_pass()
        wait_until(lambda: got)
        turnstile.open()
        feed.end("north", "south")
        report = finish(run)
    assert [shown(pair) for pair in got] == [(0, 0), (5, 5)]
    for camera in ("north", "south"):
        assert report.cameras[camera].dropped == {"newer frame at Turnstile": 4}


def test_a_camera_may_leave_and_come_back():
    feed, graph = Feed(), Graph("pairs")
    stream = graph.source(feed.source("north", "south", live=True))
    pairs: list[Any] = []
    synchronize(stream, cameras=("north", "south"), deadline=SECONDS) >> Collect(pairs.append)

    def both(moment: float) -> None:
        for camera in ("south", "north"):
            feed.push(camera, Event(Origin(camera, index=int(moment), monotonic=moment), "frame"))
            feed.settle()  # until its first frame is there, a camera that left has no frames for the other

    with Run(graph) as run:
        both(1.0)
        wait_until(lambda: len(pairs) == 1)
        feed.end("south")
        wait_until(lambda: run.report().cameras["south"].delivered == 1)
        feed.push("north", Event(Origin("north", index=2, monotonic=2.0), "frame"))
        wait_until(lambda: run.report().cameras["north"].dropped == {"no partner at Synchronize": 1})
        wait_until(lambda: not run._cameras.runs("south"))
        run.add_camera("south", "test://")
        both(3.0)
        wait_until(lambda: len(pairs) == 2)
        feed.end("north", "south")
        finish(run)


def test_the_right_cameras_end_comes_behind_its_last_pair_everywhere():
    log: list[Any] = []
    graph = Graph("pairs")
    plays = {"north": filmed("north", 25, 50), "south": filmed("south", 25, 20)}
    _, right = unzip(synchronize(files(graph, plays), cameras=("north", "south")))
    slow = threading.Event()

    def wait(value: Event) -> Event:
        slow.wait(0.001)
        return value

    right >> Apply(wait) >> Collect(lambda value: log.append(value.origin.camera), at_end=log.append)
    with Run(graph) as run:
        finish(run)
    assert log == ["south"] * 21 + ["north"]


def test_pairs_of_live_and_file_are_refused():
    feed, graph = Feed(), Graph("pairs")
    live = graph.source(feed.source("north", live=True))
    file = files(graph, {"south": filmed("south", 25, 5)}, "file")
    synchronize(live, file) >> Collect()
    with pytest.raises(GraphError, match="Synchronize: north is a live camera and south is read from a file"):
        Run(graph)
