"""Workers on another machine, which here is another process that dials in over the loopback interface."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flowedge.graph.loading import load
from flowedge.operators import Crop
from flowedge.plane.remote import listen
from flowedge.runtime.workers.network import Network
from flowedge.runtime.workers.node import Node
from flowedge.runtime.workers.replicas import Replicas
from flowedge.testing import frames
from flowedge.values import Outcome
from tests.runtime.fake_steps import SECONDS
from tests.runtime.worker_steps import Obey, command
from tests.runtime.workers.test_node import module_at
from tests.runtime.workers.test_replicas import Answers, item, send_all

USER_FILE = """
from dataclasses import dataclass
from flowedge import Event, Graph, Operator
from user_helpers import scaled

@dataclass
class Scale(Operator[Event, Event]):
    def process(self, value):
        return Event(value.origin, value.kind, {"scaled": scaled(value.data["number"])})

graph = Graph("user")
"""

NODE = """
import signal, sys
from flowedge.plane.remote import dial
from flowedge.runtime.workers.launcher import Launcher, description

launcher = Launcher(sys.argv[1], dial(sys.argv[2]), description("cloud"), sys.argv[2])
signal.signal(signal.SIGTERM, lambda *_: launcher.stop())
launcher.run()
"""


@pytest.fixture
def endpoint() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"tcp/127.0.0.1:{free.getsockname()[1]}"


@contextmanager
def dialled(endpoint: str, name: str = "gate") -> Iterator[subprocess.Popen[bytes]]:
    """`flowedge node` in a process of its own."""
    process = subprocess.Popen([sys.executable, "-c", NODE, name, endpoint])
    try:
        yield process
    finally:
        process.terminate()
        process.wait(SECONDS)


@contextmanager
def remote(endpoint: str) -> Iterator[tuple[Network, Node, subprocess.Popen[bytes]]]:
    """A network with one machine, "gate", and a node that keeps a worker there."""
    with Network(listen(endpoint)) as network, dialled(endpoint) as process:
        assert network.wait_for("gate", SECONDS)
        with Node(network.machine("gate")) as node:
            node.start("gate/1")
            yield network, node, process


@contextmanager
def working(node: Node, chain: list[Any]) -> Iterator[tuple[Replicas, Answers]]:
    answers = Answers()
    copies = Replicas(lambda _: node, chain, ["gate/1"], on_answer=answers.note, on_error=answers.note_error)
    try:
        copies.start()
        yield copies, answers
    finally:
        copies.close(at_once=True)


def test_a_machine_says_what_it_is_like(endpoint: str) -> None:
    with Network(listen(endpoint)) as network, dialled(endpoint):
        assert network.wait_for("gate", SECONDS)
        joined = network.machines["gate"]
    assert (joined.tier, joined.cores) == ("cloud", len(os.sched_getaffinity(0)))


def test_pictures_go_as_jpeg_and_their_results_come_back(endpoint: str) -> None:
    pictures = frames(3, 640, 480)
    with remote(endpoint) as (_, node, _), working(node, [Crop(0, 0, 640, 240)]) as (copies, answers):
        send_all(copies, pictures)
        came = answers.wait(3)
    for picture, answer in zip(pictures, came, strict=True):
        sent, given = picture.image[:240].astype(int), answer.result.image.astype(int)
        assert given.shape == sent.shape
        assert 0 < np.abs(given - sent).mean() < 8
        assert answer.result.origin == picture.origin


def test_a_users_own_file_and_what_it_imports_come_along(
    endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "user_helpers.py").write_text("def scaled(number):\n    return 3 * number\n")
    path = tmp_path / "user.py"
    path.write_text(USER_FILE)
    load(path, {})
    scale = module_at(path).Scale()
    with remote(endpoint) as (_, node, _), working(node, [scale]) as (copies, answers):
        path.unlink()  # as on a machine that never had it
        send_all(copies, [command(0, number=14)])
        (answer,) = answers.wait(1)
    assert answer.result.data["scaled"] == 42


def test_a_worker_that_is_killed_there_comes_back(endpoint: str) -> None:
    with remote(endpoint) as (_, node, _), working(node, [Obey()]) as (copies, answers):
        send_all(copies, [command(0)])
        (first,) = answers.wait(1)
        os.kill(first.result.data["pids"][0], signal.SIGKILL)
        send_all(copies, [command(1)])
        second = answers.wait(2)[1]
    assert second.result.data["pids"] != first.result.data["pids"]
    assert node.deaths["gate/1"] == 1


def test_a_machine_that_goes_takes_its_work_along_and_one_that_returns_is_used_again(endpoint: str) -> None:
    with remote(endpoint) as (network, node, process), working(node, [Obey()]) as (copies, answers):
        send_all(copies, [command(0)])
        (first,) = answers.wait(1)
        os.kill(first.result.data["pids"][0], signal.SIGSTOP)
        assert copies.send(item(command(1), live=True))
        process.kill()
        process.wait(SECONDS)
        lost = answers.wait(2)[1]
        assert not network.machines
        assert copies.send(item(command(2), live=True))
        unsent = answers.wait(3)[2]
        with dialled(endpoint):
            send_all(copies, [command(3)])
            last = answers.wait(4)[3]
    assert (lost.result.outcome, lost.result.cause) == (Outcome.DROPPED, "worker died")
    assert (unsent.result.outcome, unsent.result.cause) == (Outcome.DROPPED, "machine out of reach")
    assert last.result.data["pids"] != first.result.data["pids"]


def test_workers_end_with_their_launcher(endpoint: str) -> None:
    with remote(endpoint) as (_, node, process), working(node, [Obey()]) as (copies, answers):
        send_all(copies, [command(0)])
        (answer,) = answers.wait(1)
        descriptor = os.pidfd_open(answer.result.data["pids"][0])
        process.kill()
        ended, _, _ = select.select([descriptor], [], [], SECONDS)
        os.close(descriptor)
    assert ended


def test_a_machine_with_another_version_is_not_used(
    endpoint: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("flowedge.runtime.workers.network.__version__", "9.9")
    with Network(listen(endpoint)) as network, dialled(endpoint):
        refused = threading.Event()
        while not any("node gate is not used" in message for message in caplog.messages):
            refused.wait(0.02)
        assert not network.machines
