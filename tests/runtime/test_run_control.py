"""Stopping, aborting, interrupting, and steps that never return."""

from __future__ import annotations

import functools
import signal
import threading
from typing import Any

import pytest

from flowedge import Graph
from flowedge.errors import RunError
from flowedge.runtime.limits import Limits
from flowedge.runtime.run import Run
from tests.runtime.conftest import running
from tests.runtime.fake_steps import (
    FILE_WINDOW,
    IMPATIENT,
    SECONDS,
    Apply,
    Collect,
    Feed,
    Play,
    Turnstile,
    assert_balanced,
    by_camera,
    events,
    file,
    finish,
    passed,
    wait_until,
)


@pytest.fixture
def feed() -> Feed:
    return Feed()


def test_stopping_delivers_what_is_in_the_graph():
    graph, gate, came = Graph("test"), Turnstile(), []
    file(graph, 1000) >> gate.step() >> Collect(came.append)
    with Run(graph) as run:
        gate.await_entry()
        wait_until(lambda: run.report().cameras["north"].in_flight == FILE_WINDOW)
        run.stop()
        gate.open()
        report = finish(run)
    assert report.cameras["north"].produced == report.cameras["north"].delivered == FILE_WINDOW
    assert by_camera(came) == {"north": list(range(FILE_WINDOW))}


def test_leaving_the_with_block_stops():
    graph = Graph("test")
    file(graph, 1_000_000, ["a", "b"]) >> Apply(passed) >> Collect()
    with Run(graph) as run:
        wait_until(lambda: run.report().cameras["a"].delivered > 10)
    assert run.finished
    assert_balanced(run.report())
    assert running() == []


def test_stopping_before_the_start_runs_nothing():
    graph, came = Graph("test"), []
    file(graph, 1_000_000) >> Collect(came.append)
    run = Run(graph)
    run.stop()
    with run:
        run.wait(SECONDS)
        assert run.finished
    assert came == []
    assert running() == []


def test_stopping_twice_and_from_a_sink():
    graph = Graph("test")
    file(graph, 1_000_000) >> Collect(lambda value: value.origin.index == 20 and run.stop())
    run = Run(graph)
    with run:
        run_report = run.wait(SECONDS)
        run.stop()
        assert run.finished
    assert_balanced(run_report)


def test_aborting_drops_what_is_in_the_graph():
    graph, gate = Graph("test"), Turnstile()
    file(graph, 1000) >> gate.step() >> Collect()
    with Run(graph, limits=IMPATIENT) as run:
        gate.await_entry()
        wait_until(lambda: run.report().cameras["north"].in_flight == FILE_WINDOW)
        run.abort()
        report = run.wait(SECONDS)
        assert_balanced(report)
        assert report.cameras["north"].dropped == {"run stopped at graph": FILE_WINDOW}
        gate.open()
    assert_balanced(run.report())


def test_a_stuck_operator_is_left_behind_and_its_frames_counted(caplog):
    graph, gate, ended = Graph("test"), Turnstile(), []
    file(graph, 1000) >> gate.step("stuck") >> Collect(at_end=ended.append)
    with Run(graph, limits=IMPATIENT) as run:
        gate.await_entry()
    assert run.finished or run.report().cameras["north"].in_flight == 0
    assert_balanced(run.report())
    assert "flowedge-stuck has not stopped" in caplog.text
    gate.open()


def test_a_source_that_does_not_heed_stop_is_left_behind(caplog):
    graph, release = Graph("test"), threading.Event()

    def play(camera: str, stop: threading.Event) -> Any:
        yield from events(3)(camera, stop)
        release.wait(SECONDS)

    graph.source(Play({"north": "test://"}, play)) >> Collect()
    with Run(graph, limits=IMPATIENT) as run:
        wait_until(lambda: run.report().cameras["north"].delivered == 3)
    assert "flowedge-north has not stopped" in caplog.text
    assert_balanced(run.report())
    release.set()


def test_waiting_after_a_stop_has_an_end_though_a_step_is_stuck():
    graph, gate = Graph("test"), Turnstile()
    file(graph, 1000) >> gate.step("stuck") >> Collect()
    with Run(graph, limits=IMPATIENT) as run:
        gate.await_entry()
        run.stop()
        with pytest.raises(RunError, match=r"stuck has been busy with frame 0 of north for .* is left behind"):
            run.wait()
        assert_balanced(run.report())
    gate.open()


@pytest.mark.parametrize("other_works", [False, True])
def test_a_stopping_run_waits_for_work_and_not_for_a_step_that_hangs(feed, other_works):
    graph, hung, works, now = Graph("test"), Turnstile(), Turnstile(), [100.0]

    def from_frame(index: int, gate: Turnstile) -> Any:
        return lambda value: gate.pass_through(value) if value.origin.index == index else value

    stream = graph.source(feed.source("north", live=True))
    stream >> Apply(from_frame(1, hung), name="hung") >> Collect(name="left")
    stream >> Apply(from_frame(2, works), name="works") >> Collect(name="right")
    limits = Limits(drain_seconds=SECONDS, setup_seconds=0.1)
    with Run(graph, limits=limits, clock=lambda: now[0]) as run:
        for index in (0, 1):
            feed.push("north", index)
            wait_until(lambda index=index: run._wiring.runners["right"].metrics.count == index + 1)
        hung.await_entry()
        now[0] += 5.0
        if other_works:
            feed.push("north", 2)
            works.await_entry()
            now[0] += 0.5
        feed.end("north")
        run.stop()
        run._watch.look()
        run._watch.look()
        assert run.finished != other_works
        if not other_works:
            with pytest.raises(RunError, match=r"hung has been busy with frame 1 of north for 5 s and is left"):
                run.wait()
        hung.open()
        works.open()
    assert_balanced(run.report())


def test_an_interrupt_gets_through_to_a_waiting_main_thread(feed, request):
    # A shell has what it starts in the background ignore interrupts, and Python leaves it so.
    request.addfinalizer(functools.partial(signal.signal, signal.SIGINT, signal.getsignal(signal.SIGINT)))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    graph = Graph("test")
    graph.source(feed.source("north", live=True)) >> Collect()
    main = threading.main_thread().ident
    ctrl_c = threading.Timer(0.05, signal.pthread_kill, [main, signal.SIGINT])
    with pytest.raises(KeyboardInterrupt), Run(graph) as run:  # noqa: PT012
        ctrl_c.start()
        run.wait(SECONDS)
    assert run.finished
    assert running() == []


def test_a_second_interrupt_skips_the_drain_and_still_closes_everything(monkeypatch):
    graph, gate, closed = Graph("test"), Turnstile(), []
    stuck = Apply(lambda value: gate.pass_through(value), name="stuck")
    file(graph, 1000) >> stuck >> Collect(at_close=lambda: closed.append("sink"))
    run = Run(graph, limits=Limits(drain_seconds=SECONDS))
    monkeypatch.setattr(run._finished, "wait", lambda _: interrupted(gate))
    with pytest.raises(KeyboardInterrupt), run:
        gate.await_entry()
    assert closed == ["sink"]
    assert running() == []


def interrupted(gate: Turnstile) -> None:
    gate.open()
    raise KeyboardInterrupt


def test_a_stuck_live_sink_does_not_stall_the_other(feed):
    """Also when more frames came than may be in the graph."""
    graph, gate, came = Graph("test"), Turnstile(), []
    stream = graph.source(feed.source("north", live=True))
    stream >> Collect(lambda value: gate.pass_through(value), name="stuck")
    stream >> Collect(came.append, name="moving")
    with Run(graph, limits=Limits(live_window=10)) as run:
        feed.push("north", 0)
        gate.await_entry()
        wait_until(lambda: came)
        for n in range(1, 50):
            feed.push("north", n)
            wait_until(lambda n=n: len(came) == n + 1)
        gate.open()
        feed.end("north")
        report = finish(run)
    assert report.cameras["north"].sinks["moving"].delivered == 50
