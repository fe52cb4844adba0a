"""Several graphs, each in a process of its own, told to run or to wait."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flowedge.plane.topics import running
from flowedge.runtime.controller.sharing import Sharing, Switch
from flowedge.runtime.home import HomeSettings
from flowedge.runtime.homes import Homes

SECONDS = 60.0

PLAYED = """
from dataclasses import dataclass, field
from collections import Counter
import time
from flowedge import Event, Graph, Operator, Origin, Source, State, param
from flowedge.operators import JSONLines

@dataclass
class Play(Source[Event]):
    frames: int = 0
    def read(self, camera, stop):
        for index in range(self.frames):
            if stop.wait(0.002):
                return
            yield Event(Origin(camera, index=index), "fact")

@dataclass
class Count(Operator[Event, Event]):
    state = State.PER_CAMERA
    _counts: Counter[str] = field(default_factory=Counter, init=False, repr=False)
    def process(self, value: Event, /) -> Event:
        self._counts[value.origin.camera] += 1
        return Event(value.origin, value.kind, {"count": self._counts[value.origin.camera]})
    def snapshot(self, camera):
        return self._counts[camera]
    def restore(self, camera, state):
        self._counts[camera] = state

name = param("name", "one")
graph = Graph(name)
graph.source(Play({"north": ""}, frames=param("frames", 100))) >> Count() >> JSONLines(f"{name}.json")
"""


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    Path("played.py").write_text(PLAYED)
    yield
    assert not list(tmp_path.glob("flowedge-*/*"))


def settings(name: str, frames: int) -> HomeSettings:
    return HomeSettings("played.py", {"name": name, "frames": str(frames)})


def follow(homes: Homes, until: Callable[[], bool] = lambda: False) -> None:
    """Look after the graphs until they have ended, or sooner."""
    end = time.monotonic() + SECONDS
    while not (homes.look() or until()):
        assert time.monotonic() < end
        time.sleep(0.02)


def counts(name: str) -> list[int]:
    return [json.loads(line)["data"]["count"] for line in Path(f"{name}.json").read_text().splitlines()]


def test_a_graph_that_waited_loses_nothing_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """What `Sharing` says is done by the processes, whatever made it say so."""
    orders = iter([[Switch("two", False, "others come first")], [], [Switch("two", True, "its turn")]])
    monkeypatch.setattr(Sharing, "look", lambda *_: next(orders, []))
    monkeypatch.setattr("flowedge.runtime.homes.LOOK_SECONDS", 0.3)
    with Homes({"one": settings("one", 50), "two": settings("two", 400)}) as homes:
        homes._looked = float("inf")  # nothing is decided before both are at work
        follow(homes, lambda: all(home.begun for home in homes.homes))
        homes._looked = 0.0
        follow(homes)
    one, two = homes.reports()
    assert not any(home.failed for home in homes.homes)
    assert counts("one") == list(range(1, 51))
    assert counts("two") == list(range(1, 401))
    assert (two.cameras["north"].delivered, two.cameras["north"].dropped) == (400, {})
    assert [str(decision) for decision in two.decisions] == [
        "others come first: preempted",
        "its turn: goes on",
    ]
    assert two.preempted_seconds > 0 == one.preempted_seconds


def test_a_process_that_dies_is_told_of_and_the_others_go_on() -> None:
    with Homes({"one": settings("one", 50), "two": settings("two", 1_000_000)}) as homes:
        follow(homes, lambda: homes.homes[1].report is not None)
        os.kill(homes.homes[1]._process.pid, signal.SIGKILL)
        follow(homes)
    assert [home.failed for home in homes.homes] == [False, True]
    assert homes.homes[1].error == "its process was killed by SIGKILL"
    one, two = homes.reports()
    assert one.cameras["north"].delivered == 50
    assert two.error == "its process was killed by SIGKILL"
    assert running() == []  # what it had announced is cleared away by whoever looks


def test_graphs_end_when_they_are_told_to() -> None:
    with Homes({"one": settings("one", 1_000_000), "two": settings("two", 1_000_000)}) as homes:
        follow(homes, lambda: all(home.report is not None for home in homes.homes))
        homes.stop()
        follow(homes)
    for report in homes.reports():
        camera = report.cameras["north"]
        assert (camera.state, camera.in_flight) == ("ended", 0)
        assert camera.produced == camera.delivered == len(counts(report.graph))


def test_a_graph_ends_when_the_command_is_gone() -> None:
    with Homes({"one": settings("one", 1_000_000)}) as homes:
        [home] = homes.homes
        follow(homes, lambda: home.report is not None)
        os.close(home._connection.detach())
        assert home._process.wait(SECONDS) == 0
        assert counts("one")[-1] == len(counts("one"))
