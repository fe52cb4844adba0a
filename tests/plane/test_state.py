"""The state of a run is told to who listens, costs nothing else, and what cannot be told is one sentence."""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flowedge.plane.state import StateTopic, Watched
from flowedge.plane.topics import RunningGraph, connect, open_router, state_topic

SECONDS = 60.0


@pytest.fixture(autouse=True)
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="fe"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    yield folder
    shutil.rmtree(folder)


class Told:
    """A state that notes how often it was asked for, and can be waited for."""

    def __init__(self) -> None:
        self.times = 0
        self.asked = threading.Semaphore(0)

    def __call__(self) -> dict[str, Any]:
        self.times += 1
        self.asked.release()
        return {"times": self.times}


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def target(told: Told) -> Iterator[RunningGraph]:
    session, endpoint = open_router()
    with session:
        topic = StateTopic("street", told).open(session)
        yield RunningGraph("street", 1, endpoint, [])
        topic.close()


def test_nobody_is_asked_while_nobody_listens(told: Told, target: RunningGraph) -> None:
    assert not told.asked.acquire(timeout=0.3)
    watched = Watched(target, lambda data: data)
    assert watched.wait(SECONDS)
    assert watched.newest["times"] >= 1
    for _ in range(3):  # it goes on
        assert told.asked.acquire(timeout=SECONDS)
    watched.close()
    while told.asked.acquire(timeout=1.5):  # until the run knows that it left
        pass
    assert not told.asked.acquire(timeout=0.3)
    again = Watched(target, lambda data: data)
    assert again.wait(SECONDS)
    again.close()


def test_two_may_listen(target: RunningGraph) -> None:
    both = [Watched(target, lambda data: data) for _ in range(2)]
    assert all(watched.wait(SECONDS) for watched in both)
    for watched in both:
        watched.close()
        assert watched.problem is None


def test_what_another_client_publishes_is_not_taken_for_the_state(told: Told, target: RunningGraph) -> None:
    values: list[Any] = []
    third = threading.Event()

    def note(data: Any) -> Any:
        values.append(data)
        if len(values) == 3:
            third.set()
        return data

    watched = Watched(target, note)
    assert watched.wait(SECONDS)
    with connect(target.endpoint) as attacker:
        for _ in range(50):
            attacker.put(state_topic("street"), b'{"times": -1}')
        assert third.wait(SECONDS)
    watched.close()
    assert all(value["times"] > 0 for value in values)


def test_an_endpoint_that_is_gone_is_a_sentence(folder: Path) -> None:
    endpoint = f"unixsock-stream/{folder}/gone.sock"
    watched = Watched(RunningGraph("street", 12, endpoint, []), lambda data: data)
    assert watched.wait(SECONDS)
    watched.close()
    assert watched.unreachable
    assert watched.newest is None
    assert watched.problem == f"street (process 12) cannot be reached at {endpoint}"


@pytest.mark.parametrize("message", [b"", b"\xff\xfe", b"{", b'"street"'])
def test_what_is_no_state_is_a_sentence(message: bytes) -> None:
    def read(data: Any) -> Any:
        raise ValueError(f"{data} is no report")

    session, endpoint = open_router()
    matched = threading.Event()
    with session:
        publisher = session.declare_publisher(state_topic("street"))
        publisher.declare_matching_listener(lambda status: matched.set() if status.matching else None)
        watched = Watched(RunningGraph("street", 12, endpoint, []), read)
        assert matched.wait(SECONDS)
        publisher.put(message)
        assert watched.wait(SECONDS)
        watched.close()
    assert watched.newest is None
    assert watched.problem is not None
    assert watched.problem.startswith(
        "what street (process 12) says cannot be read, it may be another FlowEdge: "
    )


def test_a_state_that_cannot_be_told_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    times = iter(range(1000))

    def state() -> dict[str, Any]:
        if next(times) == 0:
            raise RuntimeError("not yet")
        return {"well": True}

    session, endpoint = open_router()
    with session:
        topic = StateTopic("street", state).open(session)
        watched = Watched(RunningGraph("street", 1, endpoint, []), lambda data: data)
        assert watched.wait(SECONDS)
        watched.close()
        topic.close()
    assert watched.newest == {"well": True}
    assert "the state cannot be told" in caplog.text
