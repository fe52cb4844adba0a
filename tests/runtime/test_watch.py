"""What is known of a run while it goes on: notes, the rates of the last seconds, steps that are stuck."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest

from flowedge import Event, Graph, Operator
from flowedge.runtime.limits import Limits
from flowedge.runtime.run import Run
from flowedge.runtime.watch import Watch
from tests.runtime.fake_steps import SECONDS, Apply, Collect, Feed, Turnstile, finish, nothing, wait_until


@pytest.fixture
def feed() -> Feed:
    return Feed()


@dataclass
class Capped(Operator[Event, Event]):
    """Notes every value that it is given."""

    seen: int = field(default=0, init=False)

    def process(self, value: Event, /) -> Event:
        self.seen += 1
        return value

    def notes(self) -> Mapping[str, int]:
        return {"values were cut": self.seen} if self.seen else {}


def test_what_a_step_notes_is_reported_while_it_runs_and_in_the_end(feed):
    graph = Graph("test")
    graph.source(feed.source("north", live=False)) >> Capped() >> Collect()
    with Run(graph) as run:
        assert run.report().notes == {}
        feed.push("north", 0, 1)
        wait_until(lambda: run.report().notes == {"Capped": {"values were cut": 2}})
        feed.end("north")
        assert finish(run).notes == {"Capped": {"values were cut": 2}}


def test_rates_are_those_of_the_last_seconds_until_the_end(feed):
    graph, now = Graph("test"), [100.0]
    graph.source(feed.source("north", live=True)) >> Collect()
    with Run(graph, clock=lambda: now[0]) as run:
        for index in range(101):
            feed.push("north", index)
            wait_until(lambda index=index: run.report().cameras["north"].delivered == index + 1)
            now[0] += 0.01
        for _ in range(20):
            now[0] += 1
            run._watch.look()
        report = run.report()
        assert (report.fps, report.cameras["north"].fps) == (0.0, 0.0)
        assert report.cameras["north"].state == "stalled"
        feed.end("north")
        assert finish(run).cameras["north"].fps == pytest.approx(101, abs=2)


def test_a_step_that_blocks_is_named_once(feed, caplog):
    graph, gate, now = Graph("test"), Turnstile(), [100.0]
    graph.source(feed.source("north", live=True)) >> gate.step("slow") >> Collect()
    with Run(graph, clock=lambda: now[0]) as run:
        feed.push("north", 7)
        gate.await_entry()
        now[0] += 4.5
        run._watch.look()
        run._watch.look()
        assert run.report().operators["slow"].stuck == "frame 7 of north for 4 s"
        assert caplog.text.count("slow has been busy with frame 7 of north for 4 s") == 1
        gate.open()
        wait_until(lambda: run.report().cameras["north"].delivered)
        assert run.report().operators["slow"].stuck is None
        run._watch.look()
        assert "slow works again" in caplog.text
        feed.end("north")
        finish(run)


def test_a_setup_that_blocks_is_named(feed, caplog):
    def until_it_is_told() -> None:
        wait_until(lambda: "Apply has been busy with its setup for" in caplog.text)

    graph = Graph("test")
    graph.source(feed.source("north", live=True)) >> Apply(nothing, at_setup=until_it_is_told) >> Collect()
    with Run(graph, limits=Limits(stalled_after=0.1)) as run:
        feed.end("north")
        finish(run)


def test_a_run_ends_though_what_is_closed_beside_it_hangs(caplog):
    entered, hold = threading.Event(), threading.Event()

    def look() -> None:
        entered.set()
        hold.wait()

    graph = Graph("test")
    graph.source(Feed().source("north", live=True)) >> Collect()
    run = Run(graph, limits=Limits(drain_seconds=0.1))
    watch = Watch([], run._reporter, run._limits, on_hung=nothing, on_look=look)
    watch.start()
    assert entered.wait(SECONDS)
    watch.stop()
    hold.set()
    assert "flowedge-watch has not stopped after 0 s and is left behind" in caplog.text
