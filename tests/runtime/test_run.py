"""Frames through whole graphs: all of a file, the newest of a camera, pairs by frame."""

from __future__ import annotations

import gc
import sys
import weakref
from typing import Any

from flowedge import Graph, join, unzip
from flowedge.runtime.run import Run
from tests.runtime.conftest import running
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
    index_of,
    passed,
    wait_until,
)


def odd(value: Any) -> Any:
    return value if index_of(value) % 2 else None


def fail_on_thirds(value: Any) -> Any:
    if index_of(value) % 3 == 0:
        raise ValueError("a third")
    return value


def test_a_file_is_delivered_whole_and_in_order():
    graph, came = Graph("test"), []
    file(graph, 200) >> Apply(passed) >> Collect(came.append)
    with Run(graph) as run:
        report = finish(run)
    assert by_camera(came) == {"north": list(range(200))}
    assert report.cameras["north"].delivered == 200
    assert report.operators["Apply"].count == 200


def test_what_a_sink_found_is_reported_when_all_is_written():
    graph, came, gate = Graph("test"), [], Turnstile()
    file(graph, 3) >> gate.step() >> Collect(came.append, found=lambda: [f"{len(came)} came"])
    with Run(graph) as run:
        gate.await_entry()
        assert run.report().findings == ()
        gate.open()
        assert finish(run).findings == ("3 came",)


def test_a_file_of_no_frames_ends():
    graph, ends = Graph("test"), []
    file(graph, 0) >> Apply(passed) >> Collect(at_end=ends.append)
    with Run(graph) as run:
        assert finish(run).cameras["north"].produced == 0
    assert ends == ["north"]


def test_files_of_several_cameras_stay_in_order_each():
    graph, came, cameras = Graph("test"), [], ["a", "b", "c"]
    file(graph, 60, cameras) >> Apply(passed) >> Collect(came.append)
    with Run(graph) as run:
        finish(run)
    assert by_camera(came) == {camera: list(range(60)) for camera in cameras}


def test_an_embedded_run_leaves_the_switch_interval_of_the_program_alone():
    graph, usual = Graph("test"), sys.getswitchinterval()
    file(graph, 1) >> Collect()
    with Run(graph) as run:
        assert sys.getswitchinterval() == usual
        finish(run)


def test_no_thread_outlives_the_run():
    graph = Graph("test")
    stream = file(graph, 20)
    join(stream, stream >> Apply(passed)) >> Collect()
    with Run(graph) as run:
        finish(run)
    assert running() == []


def test_a_file_waits_for_a_slow_sink():
    """At most a window of frames is in the graph, however many there are and however slow the sink is."""
    graph, gate = Graph("test"), Turnstile()
    file(graph, 50) >> Apply(passed) >> Collect(lambda value: gate.pass_through(value))
    with Run(graph) as run:
        for n in range(20):
            gate.await_entry()
            counts = run.report().cameras["north"]
            assert counts.in_flight <= FILE_WINDOW
            assert counts.delivered == n
            gate.let_pass()
        gate.open()
        assert finish(run).cameras["north"].delivered == 50


def test_nothing_of_a_frame_is_kept_after_it_ended():
    graph, alive, most = Graph("test"), weakref.WeakSet(), 0
    stream = graph.source(Play({"north": "test://"}, lambda camera, _: (event(camera, n) for n in range(3000))))

    def made(value: Any) -> Any:
        fresh = Bulk(value.origin)
        alive.add(fresh)
        return fresh

    def look(_: Any) -> None:
        nonlocal most
        most = max(most, len(alive))

    bulk = stream >> Apply(made, name="made")
    join(bulk, bulk >> Apply(odd, name="odd")) >> Collect(look)
    with Run(graph) as run:
        finish(run)
        gc.collect()
        assert most <= FILE_WINDOW + 1
        assert len(alive) <= 4  # what the last frame of a thread still names


class Bulk:
    """A value that can be watched."""

    def __init__(self, origin: Any) -> None:
        self.origin = origin


def test_live_frames_that_come_too_fast_give_way_to_the_newest():
    graph, feed, gate, came = Graph("test"), Feed(), Turnstile(), []
    graph.source(feed.source("north", live=True)) >> gate.step("slow") >> Collect(came.append)
    with Run(graph) as run:
        feed.push("north", 0)
        gate.await_entry()
        feed.push("north", *range(1, 10))
        feed.settle()
        gate.let_pass()
        wait_until(lambda: came)
        gate.open()
        feed.end("north")
        report = finish(run)
    assert by_camera(came) == {"north": [0, 9]}
    assert report.cameras["north"].dropped == {"newer frame at slow": 8}


def test_each_sink_of_a_live_camera_sheds_for_itself():
    graph, feed, gate, fast = Graph("test"), Feed(), Turnstile(), []
    stream = graph.source(feed.source("north", live=True))
    stream >> Collect(lambda value: gate.pass_through(value), name="slow")
    stream >> Apply(passed) >> Collect(fast.append, name="fast")
    with Run(graph) as run:
        feed.push("north", 0)
        gate.await_entry()
        wait_until(lambda: fast)
        for n in range(1, 6):
            feed.push("north", n)
            wait_until(lambda n=n: len(fast) > n)
        gate.open()
        feed.end("north")
        sinks = finish(run).cameras["north"].sinks
    assert sinks["fast"].delivered == 6
    assert (sinks["slow"].delivered, sinks["slow"].dropped) == (2, {"newer frame at slow": 4})


def test_a_stuck_source_does_not_stall_another():
    graph, feed, came = Graph("test"), Feed(), []
    graph.source(feed.source("silent", "talking", live=False)) >> Collect(came.append)
    with Run(graph) as run:
        feed.push("talking", *range(30))
        feed.end("talking")
        wait_until(lambda: len(came) == 30)
        assert not run.finished
        feed.end("silent")
        finish(run)


def test_none_filters_a_frame():
    graph, came = Graph("test"), []
    file(graph, 10) >> Apply(odd) >> Collect(came.append)
    with Run(graph) as run:
        report = finish(run)
    assert by_camera(came) == {"north": [1, 3, 5, 7, 9]}
    assert (report.cameras["north"].delivered, report.cameras["north"].filtered) == (5, 5)


def test_a_join_pairs_frames_whose_halves_both_came():
    graph, came = Graph("test"), []
    stream = file(graph, 60)
    halves = stream >> Apply(odd, name="odd"), stream >> Apply(fail_on_thirds, name="thirds")
    join(*halves) >> Collect(came.append)
    with Run(graph) as run:
        report = finish(run)
    assert by_camera(came) == {"north": [n for n in range(60) if n % 2 and n % 3]}
    assert all(left.origin == right.origin for left, right in came)
    counts = report.cameras["north"]
    assert (counts.filtered, counts.failed, counts.failures) == (30, 10, {"ValueError at thirds": 10})


def test_a_join_with_a_shedding_branch_lets_go_of_the_other_half():
    graph, feed, gate, came = Graph("test"), Feed(), Turnstile(), []
    stream = graph.source(feed.source("north", live=True))
    join(stream, stream >> gate.step("slow")) >> Collect(came.append)
    with Run(graph) as run:
        feed.push("north", 0)
        gate.await_entry()
        feed.push("north", *range(1, 8))
        feed.settle()
        gate.let_pass()
        wait_until(lambda: came)
        gate.open()
        feed.end("north")
        report = finish(run)
    assert by_camera(came) == {"north": [0, 7]}
    assert report.cameras["north"].dropped == {"newer frame at slow": 6}


def test_a_live_diamond_delivers_the_pairs_of_its_slower_branch():
    """Two frames keep both branches of a depth of one busy; what comes meanwhile gives way before the fork."""
    graph, feed, left, right, came = Graph("test"), Feed(), Turnstile(), Turnstile(), []
    stream = graph.source(feed.source("north", live=True))
    join(stream >> left.step("left"), stream >> right.step("right")) >> Collect(came.append)
    with Run(graph) as run:
        left.open()
        for n in range(5):
            feed.push("north", 3 * n)
            right.await_entry()
            feed.push("north", 3 * n + 1, 3 * n + 2)
            feed.settle()
            right.let_pass()
            right.await_entry()
            wait_until(lambda n=n: len(came) == 2 * n + 1)
            right.let_pass()
            wait_until(lambda n=n: len(came) == 2 * n + 2)
        feed.end("north")
        report = finish(run)
    assert [index_of(pair) for pair in came] == [0, 2, 3, 5, 6, 8, 9, 11, 12, 14]
    assert all(one.origin == other.origin for one, other in came)
    assert report.cameras["north"].dropped == {"newer frame at left+right": 5}


def test_unzip_takes_a_join_apart():
    graph, firsts, seconds = Graph("test"), [], []
    stream = file(graph, 20)
    left, right = unzip(join(stream, stream >> Apply(odd)))
    left >> Collect(firsts.append, name="first")
    right >> Collect(seconds.append, name="second")
    with Run(graph) as run:
        finish(run)
    assert by_camera(firsts) == by_camera(seconds) == {"north": list(range(1, 20, 2))}


def test_frames_bounds_what_each_camera_produces():
    graph, came = Graph("test"), []
    file(graph, 100, ["a", "b"]) >> Collect(came.append)
    with Run(graph, frames=7) as run:
        finish(run)
    assert by_camera(came) == {"a": list(range(7)), "b": list(range(7))}


def test_the_report_so_far_when_the_wait_times_out():
    graph, feed = Graph("test"), Feed()
    graph.source(feed.source("north", live=False)) >> Collect()
    with Run(graph) as run:
        feed.push("north", 0)
        feed.settle()
        report = run.wait(0.01)
        assert report.cameras["north"].produced == 1
        assert not run.finished
        feed.end("north")
        finish(run)


def test_many_runs_one_after_the_other():
    for _ in range(20):
        graph = Graph("test")
        stream = file(graph, 5, ["a", "b"])
        join(stream >> Apply(passed, name="one"), stream >> Apply(odd, name="two")) >> Collect()
        with Run(graph) as run:
            finish(run)
    assert running() == []
