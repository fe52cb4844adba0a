"""A running graph gives operators to workers when Python's global lock limits it, and takes them back."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from flowedge import Event, Graph
from flowedge.monitor.report import Decision
from flowedge.profiling.fitting import Measurement, StepBytes, StepTime
from flowedge.profiling.gil import LockProbe
from flowedge.runtime.controller import offloading
from flowedge.runtime.controller.offloading import Offloading
from flowedge.runtime.run import Run
from tests.runtime.fake_steps import index_of, wait_until
from tests.runtime.worker_steps import Burn, Keep, Until

SECONDS = 120.0


@pytest.fixture
def over(tmp_path: Path) -> Path:
    return tmp_path / "over"


def burning(over: Path, kind: type[Burn] = Burn) -> tuple[Graph, list[Event]]:
    graph = Graph("burning")
    stream = graph.source(Until({"north": ""}, over=str(over)))
    stream >> kind(0.005, name="first") >> Burn(0.005, name="second") >> Keep(str(over))
    return graph, Keep.kept[str(over)]


def moves(run: Run) -> list[Decision]:
    """What was decided on where operators work."""
    return [decision for decision in run.report().decisions if decision.workers is not None]


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offloading, "DECIDING", 1)
    monkeypatch.setattr(offloading, "JUDGING", 1)
    monkeypatch.setattr(offloading, "TAKEN", 0.5)
    monkeypatch.setattr(offloading, "SETTLING_SECONDS", 0.5)
    monkeypatch.setattr(offloading, "PAUSE_SECONDS", 1.0)
    monkeypatch.setattr(LockProbe, "share", lambda _: 1.0)


@pytest.fixture
def _rehearsed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both operators hold the lock for all of their 5 ms, however busy this machine is."""
    times = tuple(StepTime(name, 0.005, 0.0, 10, work=0.005, lock=1.0) for name in ("first", "second"))
    sizes = tuple(StepBytes(name, 100.0) for name in ("Until", "first", "second"))
    measurement = Measurement((), 2, times, sizes)
    monkeypatch.setattr(Offloading, "_rehearsed", lambda *_: measurement)


@pytest.mark.usefixtures("_rehearsed")
def test_operators_move_where_the_lock_is_the_limit_and_nothing_is_lost(over, monkeypatch):
    monkeypatch.setattr(offloading, "HELPED", 0.0)
    graph, came = burning(over)
    with Run(graph) as run, Offloading(run, cores=2) as moving:
        wait_until(run.decisions.so_far)
        moved_at = len(came)
        wait_until(lambda: len(came) > moved_at + 50)
        over.touch()
        report = run.wait(SECONDS)
    first = run.decisions.so_far()[0]
    assert first.expected_fps > 1.15 * first.measured_fps
    assert first.workers == moving.workers
    moved = set(moving.workers)
    assert moved
    assert [index_of(value) for value in came] == list(range(report.cameras["north"].produced))
    assert {value.data[name] for name in moved for value in came[:5]} == {os.getpid()}
    assert all(value.data[name] != os.getpid() for name in moved for value in came[-5:])


@pytest.mark.usefixtures("_rehearsed")
def test_operators_come_back_where_moving_them_did_not_help(over, monkeypatch, caplog):
    monkeypatch.setattr(offloading, "HELPED", 1000.0)
    caplog.set_level("INFO", "flowedge.plan")
    graph, came = burning(over)
    with Run(graph) as run, Offloading(run, cores=2) as moving:
        wait_until(lambda: len(run.decisions.so_far()) == 2)
        back_at = len(came)
        wait_until(lambda: len(came) > back_at + 50)
        over.touch()
        report = run.wait(SECONDS)
    assert moving.workers == {}
    assert [index_of(value) for value in came] == list(range(report.cameras["north"].produced))
    assert came[-1].data["first"] == came[-1].data["second"] == os.getpid()
    assert "Python's global lock is taken" in caplog.text
    assert "without: all in one process" in caplog.text


def test_a_graph_that_cannot_be_sent_to_another_process_stays_in_this_one(over, caplog):
    class Local(Burn):
        pass

    graph, _ = burning(over, Local)
    with Run(graph) as run, Offloading(run, cores=2):
        wait_until(lambda: "operators stay in the processes they are in" in caplog.text)
        over.touch()
        run.wait(SECONDS)
    assert not run.decisions.so_far()
