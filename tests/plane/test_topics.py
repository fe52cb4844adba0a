"""Who may read a run's topics, who may write to them, and what is left of a run that was killed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from flowedge.errors import UserError
from flowedge.plane.topics import announced, connect, open_router, running

READER = """
import os, sys, zenoh
from flowedge.plane.topics import connect
os.setgid(int(sys.argv[2])), os.setuid(int(sys.argv[2]))
with connect(sys.argv[1]):
    print("connected")
"""
RUN = """
import sys
from flowedge.plane.topics import announced, open_router
session, endpoint = open_router()
with announced("killed", endpoint, ["Detect"]):
    print(endpoint, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that every user can enter, as /tmp is."""
    folder = Path(tempfile.mkdtemp(prefix="fe"))
    folder.chmod(0o755)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    yield folder
    shutil.rmtree(folder)


def test_what_a_client_publishes_reaches_nobody(folder: Path) -> None:
    session, endpoint = open_router()
    came: list[bytes] = []
    matched, done = threading.Event(), threading.Event()

    def note(sample: Any) -> None:
        came.append(sample.payload.to_bytes())
        if came[-1] == b"last":
            done.set()

    with session, connect(endpoint) as reader, connect(endpoint) as attacker:
        subscriber = reader.declare_subscriber("flowedge/**", note)
        publisher = session.declare_publisher("flowedge/g/Detect/north")
        publisher.declare_matching_listener(lambda status: matched.set() if status.matching else None)
        assert matched.wait(60)
        publisher.put(b"true")
        for _ in range(100):
            attacker.put("flowedge/g/Detect/north", b"junk")
        attacker.delete("flowedge/g/Detect/north")
        publisher.put(b"last")
        assert done.wait(60)
        subscriber.undeclare()
    assert came == [b"true", b"last"]
    assert list(folder.glob("*/*")) == []


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_another_user_cannot_connect(folder: Path) -> None:
    session, endpoint = open_router()
    with session:
        for user in (0, 65534):
            command = [sys.executable, "-c", READER, endpoint, str(user)]
            done = subprocess.run(command, capture_output=True, text=True)
            assert ("connected" in done.stdout) == (user == 0), done.stderr


def test_the_folder_is_its_users_alone(folder: Path) -> None:
    session, endpoint = open_router()
    with session:
        [own] = folder.iterdir()
        assert own.stat().st_mode & 0o077 == 0
        assert endpoint.startswith(f"unixsock-stream/{own}/")
        own.chmod(0o755)
        with pytest.raises(UserError, match="is not a folder of yours alone"):
            running()


def test_a_killed_run_leaves_nothing(folder: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", RUN], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    endpoint = process.stdout.readline().strip()
    assert [graph.endpoint for graph in running()] == [endpoint]
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert running() == []
    assert list(folder.glob("*/*")) == []


def test_a_path_too_long_for_a_socket_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = folder / ("x" * 90)
    deep.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(deep))
    with pytest.raises(UserError, match="set XDG_RUNTIME_DIR to a folder with a short path"):
        open_router()


def test_a_running_graph_is_found_as_long_as_it_runs(folder: Path) -> None:
    session, endpoint = open_router()
    with session:
        with announced("g", endpoint, ["Detect"]):
            assert [(graph.graph, graph.operators) for graph in running()] == [("g", ["Detect"])]
        assert running() == []
