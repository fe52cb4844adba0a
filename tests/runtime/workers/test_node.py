"""A node has its workers back whatever befalls them, and leaves none behind whatever befalls itself."""

from __future__ import annotations

import logging
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import Queue
from typing import Any

import pytest

from flowedge.errors import RunError
from flowedge.graph.loading import load
from flowedge.plane.topics import SCHEME
from flowedge.runtime.workers.life import Patience
from flowedge.runtime.workers.link import Link
from flowedge.runtime.workers.machine import ThisMachine
from flowedge.runtime.workers.node import Node
from flowedge.runtime.workers.replicas import Replicas
from tests.runtime.fake_steps import SECONDS, wait_until
from tests.runtime.worker_steps import Import, Obey, command
from tests.runtime.workers.test_replicas import Answers, hosted, item, send_all

HOME = """
import sys, threading
from flowedge.runtime.workers.node import Node
from flowedge.runtime.workers.replicas import Replicas
from tests.runtime.worker_steps import Obey
with Node() as node:
    node.start("a")
    node.start("b")
    copies = Replicas(lambda _: node, [Obey()], ["a", "b"], on_answer=print, on_error=print)
    copies.start()
    print(node.pid("a"), node.pid("b"), node.machine.endpoint, flush=True)
    try:
        threading.Event().wait()
    finally:
        copies.close()
"""

USER_FILE = """
from dataclasses import dataclass
from flowedge import Event, Graph, Operator, param

@dataclass
class Scale(Operator[Event, Event]):
    factor: int

    def process(self, value):
        return Event(value.origin, value.kind, {"scaled": value.data["number"] * self.factor})

scale = Scale(param("factor", type=int, help="by how much"))
assert scale.factor > 0
graph = Graph("user")
"""


def module_at(path: Path) -> Any:
    """The module that came from a user's file."""
    return next(module for module in sys.modules.values() if getattr(module, "__file__", None) == str(path))


class Owner:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.told: Queue[tuple[str, object]] = Queue()

    def worker_up(self, link: Link) -> None:
        self.told.put(("up", link.token))

    def worker_down(self, link: Link, reason: str) -> None:
        self.told.put(("down", reason))

    def worker_lost(self, name: str, error: RunError) -> None:
        self.told.put(("lost", str(error)))

    def next(self) -> tuple[str, object]:
        return self.told.get(timeout=SECONDS)


@contextmanager
def kept(patience: Patience | None = None) -> Iterator[tuple[Node, Owner]]:
    """A node with one worker, "a", and its owner; it does not kill a worker that is slow to stop."""
    owner = Owner()
    with Node(patience=patience or Patience(stop=SECONDS)) as node:
        node.start("a")
        node.own("a", owner)
        yield node, owner


def test_a_worker_that_is_killed_comes_back(caplog: pytest.LogCaptureFixture) -> None:
    with kept() as (node, owner):
        _, first = owner.next()
        pid = node.pid("a")
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        assert owner.next() == ("down", "was killed by SIGKILL")
        what, second = owner.next()
        assert (what, node.deaths["a"]) == ("up", 1)
    assert first != second
    assert f"worker a (process {pid}) was killed by SIGKILL" in caplog.messages
    assert owner.next() == ("down", "ended with status 0")
    assert owner.next() == ("lost", "worker a has been stopped")
    assert owner.told.empty()


def test_a_worker_that_dies_whenever_it_starts_is_given_up(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PYTHONHOME", "/nowhere")
    with kept(Patience(deaths=3, pause=0.001)) as (node, owner):
        assert owner.next() == (
            "lost",
            "worker a died 3 times in a row, the last time it ended with status 1",
        )
        late = Owner()
        node.own("a", late)
        assert late.next()[0] == "lost"
    capfd.readouterr()


def test_a_step_whose_setup_kills_the_worker_ends_the_start() -> None:
    answers = Answers()
    with Node(patience=Patience(deaths=2, pause=0.001)) as node:
        node.start("a")
        copies = Replicas(
            lambda _: node, [Obey("die")], ["a"], on_answer=answers.note, on_error=answers.note_error
        )
        with pytest.raises(
            RunError, match="worker a died 2 times in a row, the last time it ended with status 7"
        ):
            copies.start()
        copies.close(at_once=True)


def test_a_stopped_worker_closes_its_steps_and_does_not_come_back(tmp_path: Path) -> None:
    mark = tmp_path / "closed"
    with kept() as (node, _):
        with hosted(node, [Obey(mark=str(mark))], ["a"]):
            node.stop("a")
        assert mark.exists()
        assert node.names == ()
        assert not node.deaths


def test_what_a_worker_logs_is_shown_by_the_run(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    caplog.set_level(logging.WARNING)
    arrived = threading.Event()

    class Watching(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "left over" in record.getMessage():
                arrived.set()

    handler = Watching()
    logging.getLogger("tests.worker").addHandler(handler)
    try:
        with kept() as (node, _), hosted(node, [Obey()], ["a"]) as (copies, answers):
            send_all(copies, [command(0, "log", text="left over")])
            answers.wait(1)
            assert arrived.wait(SECONDS)
    finally:
        logging.getLogger("tests.worker").removeHandler(handler)
    assert "worker a: left over" in caplog.messages


def test_operators_of_a_users_file_work_with_the_parameters_that_it_was_given(tmp_path: Path) -> None:
    path = tmp_path / "user.py"
    path.write_text(USER_FILE)
    graph, _ = load(path, {"factor": "3"})
    scale = module_at(path).scale
    with Node(ThisMachine(parameters={"factor": "3"})) as node:
        node.start("a")
        with hosted(node, [scale], ["a"]) as (copies, answers):
            send_all(copies, [command(0, number=14)])
            (answer,) = answers.wait(1)
    assert (graph.name, answer.result.data["scaled"]) == ("user", 42)


def test_reports_tell_what_a_worker_uses() -> None:
    with kept() as (node, owner):
        owner.next()
        told = threading.Event()
        while (usage := node.usage("a")) is None:
            told.wait(0.02)
    assert 0 < usage.cpu_seconds < SECONDS
    assert 10 << 20 < usage.memory < 1 << 30


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_workers_end_with_the_run(how: signal.Signals) -> None:
    home = subprocess.Popen(
        [sys.executable, "-c", HOME],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert home.stdout is not None
    assert home.stderr is not None
    first, second, endpoint = home.stdout.readline().split()
    workers = [os.pidfd_open(int(pid)) for pid in (first, second)]
    if how is signal.SIGINT:  # as a terminal does it: to the whole group
        os.killpg(home.pid, how)
    else:
        home.send_signal(how)
    for worker in workers:
        assert select.select([worker], [], [], SECONDS)[0]
        os.close(worker)
    home.wait(SECONDS)
    with home.stderr, home.stdout:
        said = home.stderr.read()
    if how is signal.SIGINT:
        assert not Path(endpoint.removeprefix(SCHEME)).exists()
        assert said.count("KeyboardInterrupt") == 1  # of the home only
    with Node():  # clears away the socket of one that was killed
        assert not Path(endpoint.removeprefix(SCHEME)).exists()


def test_garbage_on_the_topics_is_refused_and_counted() -> None:
    from flowedge.plane.topics import connect

    with kept() as (node, owner):
        _, token = owner.next()
        with connect(node.machine.endpoint) as stranger:
            for topic in (f"flowedge/@/from/{token}", f"flowedge/@/to/{token}"):
                stranger.put(topic, b"garbage")
            with hosted(node, [Obey()], ["a"]) as (copies, answers):
                assert copies.send(item(command(0)))
                answers.wait(1)
        assert node.refused[str(token)] == 1


def test_the_spare_worker_imports_what_others_have_imported() -> None:
    module = "_lsprof"  # a library of its own, which the memory of a process shows

    def spare_has_it() -> bool:
        life = node._spare.life
        return life is not None and module in Path(f"/proc/{life.pid}/maps").read_text()

    with Node(patience=Patience(spare=0.0)) as node:
        node.start("a")
        with hosted(node, [Import(module)], ["a"]):
            wait_until(spare_has_it)
