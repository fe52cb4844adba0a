"""What fails: operators, sinks, sources, steps that cannot start; the run ends, and every frame is counted."""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from flowedge import ConfigError, Event, Graph, Operator, SourceError, UserError, join
from flowedge.errors import RunError
from flowedge.graph.contract import Detached
from flowedge.runtime.limits import Limits
from flowedge.runtime.run import Run
from tests.runtime.conftest import running
from tests.runtime.fake_steps import (
    IMPATIENT,
    SECONDS,
    Apply,
    ApplyAll,
    Collect,
    DelayedApply,
    Feed,
    Play,
    Turnstile,
    assert_balanced,
    by_camera,
    event,
    events,
    file,
    finish,
    index_of,
    origin_of,
    passed,
    wait_until,
)


def raising(error: BaseException, at: int = 0) -> Any:
    """Raises at the frame `at` and all after it."""

    def work(value: Any) -> Any:
        if index_of(value) >= at:
            raise error
        return value

    return work


def fails(error: BaseException) -> Any:
    """Raises whatever it is given."""

    def work(*_: Any) -> Any:
        raise error

    return work


def assert_ends(run: Run, error: type[BaseException], match: str) -> None:
    """The run ends by itself with this error, and then everything is accounted for."""
    with run:
        with pytest.raises(error, match=match):
            run.wait(SECONDS)
        assert run.finished
    assert_balanced(run.report())
    assert running() == []


def test_the_first_failure_is_logged_with_its_traceback_and_the_others_are_counted(caplog):
    graph = Graph("test")
    file(graph, 10) >> Apply(fails(ValueError("broken lens")), name="look") >> Collect()
    with Run(graph, max_failures=1.0) as run:
        report = finish(run)
    records = [record for record in caplog.records if "look" in record.message]
    assert len(records) == 1
    assert "ValueError: broken lens" in records[0].message
    assert records[0].exc_info
    assert report.cameras["north"].failures == {"ValueError at look": 10}
    assert report.operators["look"].failed == 10


def test_too_large_a_share_of_failures_ends_the_run():
    graph = Graph("test")
    file(graph, 100_000) >> Apply(raising(ValueError("no"), at=10), name="look") >> Collect()
    assert_ends(
        Run(graph), UserError, r"look failed on \d+ of \d+ frames of north \(the .* 50%\): ValueError: no"
    )


def test_few_failures_do_not_end_the_run():
    graph, came = Graph("test"), []
    file(graph, 100) >> Apply(raising(ValueError("no"), at=60)) >> Collect(came.append)
    with Run(graph) as run:
        assert finish(run).cameras["north"].failed == 40


def test_a_short_file_that_failed_altogether_is_an_error():
    graph = Graph("test")
    file(graph, 3) >> Apply(fails(ValueError("no")), name="look") >> Collect()
    with Run(graph) as run, pytest.raises(UserError, match="look failed on 3 of 3"):
        run.wait(SECONDS)


@pytest.mark.parametrize("kind", [Apply, DelayedApply])
def test_a_user_error_in_an_operator_ends_the_run(kind):
    graph, came = Graph("test"), []
    stream = file(graph, 100_000, ["a", "b"]) >> kind(raising(UserError("mend me"), at=5))
    stream >> Apply(passed, name="after") >> Collect(came.append)
    assert_ends(Run(graph), UserError, "mend me")
    assert by_camera(came).get("a", []) == list(range(len(by_camera(came).get("a", []))))


def test_a_user_error_in_a_batch_with_the_end_of_another_camera_ends_the_run():
    """Between values of a batch lie the ends of other cameras, which must not be lost with it."""
    graph, feed, gate = Graph("test"), Feed(), Turnstile()

    def work(values: Sequence[Any]) -> Sequence[Any]:
        gate.pass_through(values)
        if len(values) > 1:
            raise UserError("mend me")
        return values

    graph.source(feed.source("a", "b", "c", live=False)) >> ApplyAll(work) >> Collect()
    run = Run(graph)
    with run:
        feed.push("a", 0)
        gate.await_entry()
        feed.end("b")
        feed.push("a", 1)
        feed.push("c", 1)
        feed.settle()
        wait_until(lambda: len(run._wiring.runners["ApplyAll"].inbox._cells) == 3)
        gate.open()
        feed.end("a", "c")
        with pytest.raises(UserError, match="mend me"):
            run.wait(SECONDS)
        assert run.finished
    assert_balanced(run.report())


def test_a_user_error_in_one_branch_lets_go_of_the_other():
    graph, came = Graph("test"), []
    stream = file(graph, 100_000)
    failing = stream >> Apply(raising(UserError("mend me"), at=7))
    join(failing, stream >> Apply(passed, name="other")) >> Collect(came.append)
    assert_ends(Run(graph), UserError, "mend me")
    assert by_camera(came) == {"north": list(range(7))}


@pytest.mark.parametrize("at", ["at_setup", "at_flush"])
@pytest.mark.parametrize("kind", [Apply, DelayedApply])
def test_an_operator_that_fails_at_its_setup_or_at_an_end_ends_the_run(kind, at):
    graph = Graph("test")
    stream = file(graph, 5, ["a", "b"])
    stream >> kind(passed, **{at: fails(RuntimeError("no device"))}) >> Apply(passed, name="after") >> Collect()
    run = Run(graph)
    with pytest.raises(RunError, match="no device"), run:
        run.wait(SECONDS)
    assert run.finished
    assert_balanced(run.report())


def test_a_step_that_cannot_start_keeps_the_cameras_closed():
    opened: list[str] = []

    def play(camera: str, _: Any) -> Iterator[Any]:
        opened.append(camera)
        yield event(camera, 0)

    for _ in range(50):
        graph = Graph("test")
        stream = graph.source(Play({"north": "test://"}, play))
        stream >> Apply(passed, at_setup=fails(RuntimeError("no device"))) >> Collect()
        with pytest.raises(RunError, match="no device"), Run(graph):
            pass
    assert opened == []
    assert running() == []


def test_steps_are_closed_once_whatever_happened():
    closed: list[str] = []
    graph = Graph("test")
    first = Apply(passed, name="first", at_close=lambda: closed.append("first"))
    second = Apply(raising(UserError("no")), name="second", at_close=lambda: closed.append("second"))
    file(graph, 10) >> first >> second >> Collect()
    assert_ends(Run(graph), UserError, "no")
    assert sorted(closed) == ["first", "second"]


@pytest.mark.parametrize("error", [RuntimeError("stuck lid"), SystemExit("stuck lid")])
def test_a_step_that_cannot_be_closed_is_an_error(error):
    graph = Graph("test")
    file(graph, 3) >> Apply(passed, at_close=fails(error), name="box") >> Collect()
    with Run(graph) as run:
        with pytest.raises(RunError, match=r"box could not be closed: \w+: stuck lid") as caught:
            run.wait(SECONDS)
        assert caught.value.__cause__ is error
    assert "stuck lid" in str(run.report().error)


def test_a_value_that_a_sink_cannot_write_has_failed():
    graph, other = Graph("test"), []
    stream = file(graph, 10)
    stream >> Collect(raising(OSError("disk full"), at=6), name="disk")
    stream >> Collect(other.append, name="other")
    with Run(graph) as run:
        report = finish(run)
    north = report.cameras["north"]
    assert (north.sinks["disk"].delivered, north.sinks["disk"].failures) == (6, {"OSError at disk": 4})
    assert north.sinks["other"].delivered == len(other) == 10
    assert (north.delivered, north.failed) == (6, 4)


def test_a_sink_that_cannot_finish_its_files_ends_the_run():
    graph, ended = Graph("test"), []

    def at_end(camera: str) -> None:
        ended.append(camera)
        raise OSError("disk full")

    file(graph, 5, ["a", "b", "c"]) >> Collect(at_end=at_end)
    assert_ends(Run(graph), RunError, "disk full")
    assert sorted(ended) == ["a", "b", "c"]


def test_a_sink_finishes_its_files_after_an_error_elsewhere():
    graph, ended = Graph("test"), []
    file(graph, 100_000, ["a", "b"]) >> Apply(raising(UserError("no"), at=3)) >> Collect(at_end=ended.append)
    assert_ends(Run(graph), UserError, "no")
    assert sorted(ended) == ["a", "b"]


@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt()])
@pytest.mark.parametrize("where", ["at_setup", "function", "at_flush"])
def test_an_operator_that_would_end_the_process_ends_the_run(error, where):
    graph = Graph("test")
    stream = file(graph, 10)
    stream >> Apply(**{"function": passed, where: fails(error)}, name="exits") >> Collect()
    run = Run(graph)
    with pytest.raises(RunError, match="exits"), run:
        run.wait(SECONDS)
    assert run.finished


def test_a_source_that_fails_at_once_ends_the_run():
    graph = Graph("test")
    graph.source(Play({"north": "test://"}, fails(SourceError("gone", "no such camera")))) >> Collect()
    assert_ends(Run(graph), SourceError, "no such camera")


def test_a_source_that_fails_midway_delivers_what_it_gave(caplog):
    graph, feed, came = Graph("test"), Feed(), []
    graph.source(feed.source("north", live=False)) >> Apply(passed) >> Collect(came.append)
    feed.push("north", 0, 1, 2, ValueError("torn"))
    assert_ends(Run(graph), RunError, "torn")
    assert by_camera(came) == {"north": [0, 1, 2]}
    assert any(record.levelno == logging.ERROR and record.exc_info for record in caplog.records)


@pytest.mark.parametrize("first", ["good", "bad"])
def test_one_camera_of_two_that_fails_leaves_the_other_alone(first):
    """Whichever ends first."""
    graph, feed, came, ended = Graph("test"), Feed(), [], []
    stream = graph.source(feed.source("good", "bad", live=False))
    stream >> Collect(came.append, ended.append)
    with Run(graph) as run:
        feed.push("good", 0, 1)
        feed.push("bad", 0)
        last = [("good", None), ("bad", SourceError("gone", "no such camera"))]
        for camera, value in sorted(last, key=lambda one: one[0] != first):
            feed.push(camera, value)
            wait_until(lambda camera=camera: camera in ended)
        report = finish(run)
    assert by_camera(came) == {"good": [0, 1], "bad": [0]}
    assert (report.cameras["good"].error, report.cameras["bad"].error) == (None, "no such camera")
    assert report.error is None


def test_all_cameras_failing_ends_the_run():
    graph = Graph("test")
    play = fails(SourceError("gone", "no such camera"))
    graph.source(Play({"a": "test://", "b": "test://"}, play)) >> Collect()
    assert_ends(Run(graph), SourceError, "no such camera")


def test_a_source_may_give_any_iterator():
    graph, came = Graph("test"), []
    play = Play({"north": "test://"}, lambda camera, _: iter([event(camera, 0), event(camera, 1)]))
    graph.source(play) >> Collect(came.append)
    with Run(graph) as run:
        finish(run)
    assert by_camera(came) == {"north": [0, 1]}


def test_a_stuck_step_does_not_keep_an_error_back():
    """The sink never returns; the error of the operator comes after the drain's patience."""
    graph, gate = Graph("test"), Turnstile()
    stream = file(graph, 100)
    stream >> Collect(lambda value: gate.pass_through(value), name="stuck")
    stream >> Apply(raising(UserError("mend me"), at=2)) >> Collect(name="other")
    with Run(graph, limits=IMPATIENT) as run:
        with pytest.raises(UserError, match="mend me"):
            run.wait(SECONDS)
        assert run.report().cameras["north"].in_flight == 0
    gate.open()
    assert_balanced(run.report())


def test_an_error_in_the_with_body_passes_and_ends_the_run():
    graph, feed = Graph("test"), Feed()
    graph.source(feed.source("north", live=False)) >> Collect()
    with pytest.raises(ZeroDivisionError), Run(graph) as run:  # noqa: PT012
        feed.push("north", 0)
        feed.settle()
        raise ZeroDivisionError
    assert run.finished
    assert run.report().cameras["north"].delivered == 1
    assert running() == []


def test_a_source_that_mistakes_its_camera_is_named():
    graph = Graph("mistaken")
    graph.source(Play({"north": ""}, lambda camera, stop: iter([event("south", 0)]))) >> Collect()
    with pytest.raises(RunError, match="Play gave a frame of south when asked for north"), Run(graph) as run:
        run.wait()


def test_a_source_that_gives_a_frame_again_while_it_is_in_the_graph_is_named():
    graph, gate = Graph("repeated"), Turnstile()
    play = Play({"north": ""}, lambda camera, stop: iter([event("north", 0), event("north", 0)]))
    graph.source(play) >> Collect(lambda value: gate.pass_through(value))
    with Run(graph) as run:
        gate.await_entry()
        wait_until(lambda: run.error)
        gate.open()
        with pytest.raises(RunError, match=r"north: frame 0 came twice; Origin\.index must"):
            run.wait(SECONDS)
    assert run.report().cameras["north"].delivered == 1


class Flaky:
    """A live camera that gives frames for ever; `bad` are the sessions whose frames cannot be used."""

    def __init__(self, bad: Sequence[int] = range(1_000_000)) -> None:
        self.bad = bad
        self.opened = 0

    def play(self, camera: str, stop: threading.Event) -> Iterator[Any]:
        self.opened += 1
        for index in itertools.count():
            yield event(camera, index)
            if stop.wait(0.001):
                return

    def __deepcopy__(self, _: object) -> Flaky:
        return self  # seen by the test though the run works on copies of its steps

    def look(self, value: Any) -> Any:
        origin = value.origin
        if origin.camera == "bad" and origin.session in self.bad:
            raise ValueError("garbage")
        return value


SOON = Limits(first_retry=0.01, longest_retry=0.02)


def test_a_camera_that_fails_in_an_operator_is_attached_again_and_the_others_never_notice(caplog):
    graph, flaky, came = Graph("test"), Flaky(), []
    stream = graph.source(Play({"good": "", "bad": ""}, flaky.play, as_live=True))
    stream >> Apply(flaky.look, name="look") >> Collect(came.append)
    with Run(graph, limits=SOON) as run:
        wait_until(lambda: flaky.opened >= 5 and run.report().cameras["good"].delivered)
        report = run.report()
        assert (report.cameras["bad"].state, report.cameras["good"].state) == ("failing", "live")
        assert "look failed on" in report.cameras["bad"].reason
        run.stop()
        report = finish(run)
    assert set(by_camera(came)) == {"good"}
    assert report.cameras["good"].error is None
    assert "garbage" in str(report.cameras["bad"].error)
    assert [report.cameras[name].state for name in ("good", "bad")] == ["ended", "ended"]
    assert len([record for record in caplog.records if "frames of bad" in record.message]) == 1


def test_a_camera_that_failed_may_become_well(caplog):
    graph, flaky, came = Graph("test"), Flaky(bad=(0, 1)), []
    stream = graph.source(Play({"good": "", "bad": ""}, flaky.play, as_live=True))
    stream >> Apply(flaky.look, name="look") >> Collect(came.append)
    with Run(graph, limits=SOON) as run:
        wait_until(lambda: "bad works again in look" in caplog.text)
        assert run.report().cameras["bad"].state == "live"
        run.stop()
        report = finish(run)
    assert report.cameras["bad"].error is None
    assert {value.origin.session for value in came if value.origin.camera == "bad"} == {2}


def test_a_camera_that_fails_ends_a_run_that_has_no_other():
    graph, flaky = Graph("test"), Flaky()
    graph.source(Play({"bad": ""}, flaky.play, as_live=True)) >> Apply(flaky.look, name="look") >> Collect()
    assert_ends(Run(graph, limits=SOON), RunError, r"look failed on \d+ of \d+ frames of bad .*: garbage")


def test_a_file_that_fails_ends_and_the_others_go_on():
    graph, came = Graph("test"), []
    look = lambda value: 1 / (origin_of(value).camera != "bad") and value  # noqa: E731
    file(graph, 500, ["good", "bad"]) >> Apply(look, name="look") >> Collect(came.append)
    with Run(graph) as run:
        report = finish(run)
    assert by_camera(came) == {"good": list(range(500))}
    assert report.cameras["bad"].produced < 500
    assert "ZeroDivisionError" in str(report.cameras["bad"].error)
    assert report.error is None


def test_a_camera_that_was_never_attached_is_an_error_in_the_end():
    graph = Graph("test")

    def play(camera: str, stop: threading.Event) -> Iterator[Any]:
        if camera == "off":
            yield Detached("connection refused")
            stop.wait(SECONDS)
        else:
            yield from events(1)(camera, stop)

    graph.source(Play({"on": "", "off": ""}, play, as_live=True)) >> Collect()
    with Run(graph) as run:
        wait_until(lambda: run.report().cameras["on"].delivered and run.report().cameras["off"].reason)
        report = run.report()
        assert (report.cameras["off"].state, report.cameras["off"].reason) == (
            "connecting",
            "connection refused",
        )
        run.stop()
        report = finish(run)
    assert report.cameras["off"].error == "off was never attached: connection refused"
    assert (report.cameras["on"].error, report.error) == (None, None)


def test_a_camera_that_cannot_be_attached_after_some_attempts_is_failing_until_it_comes(caplog):
    graph, asked, answers = Graph("test"), threading.Event(), threading.Event()

    def play(camera: str, stop: threading.Event) -> Iterator[Any]:
        for _ in range(4):
            yield Detached("off: what answers does not speak RTSP")
        asked.wait(SECONDS)
        yield Detached("off: what answers does not speak RTSP")
        answers.wait(SECONDS)
        yield from events(1)(camera, stop)
        stop.wait(SECONDS)

    graph.source(Play({"off": ""}, play, as_live=True)) >> Collect()
    with Run(graph) as run:

        def reaches(state: str) -> None:
            wait_until(lambda: run.report().cameras["off"].state == state)

        reaches("connecting")
        asked.set()
        reaches("failing")
        assert run.report().cameras["off"].reason == "what answers does not speak RTSP"
        answers.set()
        reaches("live")
        run.stop()
        finish(run)
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == [
        "off: what answers does not speak RTSP; 5 attempts failed, and further ones follow"
    ]


@pytest.mark.parametrize("given", ["a text", [1, 2]])
def test_a_result_of_another_type_than_declared_fails_in_the_operator_that_gave_it(given):
    graph = Graph("test")
    file(graph, 5) >> Declared(given) >> Apply(passed, name="after") >> Collect()
    with (
        Run(graph) as run,
        pytest.raises(RunError, match="Declared failed on 5 of 5 frames") as caught,
    ):
        run.wait(SECONDS)
    assert "but declares that it gives Event" in str(caught.value)
    assert run.report().operators["after"].count == 0


@dataclass
class Declared(Operator[Event, Event]):
    given: Any

    def process(self, value: Event, /) -> Event:
        return self.given


@pytest.mark.parametrize("error", [UserError("mend me"), SystemExit("mend me")])
def test_what_ends_the_run_does_so_also_for_one_value_of_a_batch(error):
    """The batch fails as a whole first, with an exception that loses frames only."""
    graph, feed, gate = Graph("test"), Feed(), Turnstile()

    def work(values: Sequence[Any]) -> Sequence[Any]:
        gate.pass_through(values)
        if len(values) > 1:
            raise ValueError("together")
        if index_of(values[0]) > 0:
            raise error
        return values

    graph.source(feed.source("a", "c", live=False)) >> ApplyAll(work) >> Collect()
    run = Run(graph)
    with run:
        feed.push("a", 0)
        gate.await_entry()
        feed.push("a", 1)
        feed.push("c", 1)
        feed.settle()
        gate.open()
        feed.end("a", "c")
        with pytest.raises(UserError, match="mend me"):
            run.wait(SECONDS)


def test_a_source_that_would_end_the_process_has_failed():
    graph = Graph("test")
    graph.source(Play({"north": ""}, fails(SystemExit("panic")))) >> Collect()
    assert_ends(Run(graph), RunError, "panic")


def test_all_cameras_are_known_before_the_first_may_fail(monkeypatch):
    """The thread of the first has ended before that of the second begins."""
    start = threading.Thread.start

    def start_and_join(thread: threading.Thread) -> None:
        start(thread)
        if thread.name == "flowedge-bad":
            thread.join(SECONDS)

    def read(camera: str, *_: Any) -> Iterator[Event]:
        if camera == "bad":
            raise SourceError("refused", "bad: no")
        yield event("good", 0)

    monkeypatch.setattr(threading.Thread, "start", start_and_join)
    graph, came = Graph("test"), []
    graph.source(Play({"bad": "", "good": ""}, read)) >> Collect(came.append)
    with Run(graph) as run:
        report = finish(run)
    assert report.cameras["good"].delivered == 1
    assert report.cameras["bad"].error


def test_what_a_flush_gives_without_being_delayed_is_told(caplog):
    graph = Graph("test")

    class Leftover(Apply):
        def flush(self, camera: str) -> Sequence[Any]:
            return [event(camera, 99)]

    file(graph, 2) >> Leftover(passed, name="look") >> Collect()
    with Run(graph) as run:
        assert finish(run).cameras["north"].delivered == 2
    assert "look: flush gave 1 values at the end of north" in caplog.text


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [({"frames": 0}, "Run: frames=0"), ({"max_failures": 50}, "Run: max_failures=50")],
)
def test_a_setting_that_makes_no_sense_is_refused(setting, sentence):
    graph = Graph("test")
    file(graph, 2) >> Collect()
    with pytest.raises(ConfigError, match=sentence):
        Run(graph, **setting)
