"""The test bed: links that hold their rate, cuts that stop and heals that restore, and nothing left behind."""

from __future__ import annotations

import os
import queue
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.node_process import SECONDS, NodeProcess
from tools.testbed import Bed, Link, attach, missing, open_bed
from tools.testbed.bed import GROUP, STATES, clear_leftovers
from tools.testbed.groups import groups

SLOW, FAST = 4.0, 40.0
"""Rates in Mbit/s."""

DELAY_MS = 5.0
PYTHON = [sys.executable, "-S", "-E", "-c"]

SINK = """
import socket, time
server = socket.create_server(("", 9000))
print("listening", flush=True)
connection, _ = server.accept()
count, begin = 0, None
while chunk := connection.recv(1 << 16):
    if begin is None:
        begin = time.monotonic()
    else:
        count += len(chunk)
print(count * 8e-6 / (time.monotonic() - begin), flush=True)
"""
FLOOD = """
import socket
socket.create_connection(("fog", 9000)).sendall(bytes(500_000))
"""
ECHO = """
import socket
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("", 9001))
print("listening", flush=True)
while True:
    server.sendto(*server.recvfrom(100))
"""
CALLER = """
import socket, sys, threading
caller = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
caller.connect((sys.argv[1], 9001))
def answers():
    while True:
        print(caller.recv(100).decode(), flush=True)
threading.Thread(target=answers, daemon=True).start()
for line in sys.stdin:
    caller.send(line.strip().encode())
    print("sent", flush=True)
"""
REPEATER = """
import sys
for line in sys.stdin:
    print(line.strip(), flush=True)
"""
ASKED_TO_END = """
import signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
print("ready", flush=True)
signal.pause()
"""
SPIN = "while True: pass"
OWNER = """
import sys, time
from tools.testbed import Link, open_bed
with open_bed([Link("edge", "fog")], name=sys.argv[1]) as bed:
    process = bed.popen("edge", ["sleep", "1000"])
    if sys.argv[2] == "frozen":
        bed.freeze("edge")
    print(bed.init("edge"), flush=True)
    time.sleep(1000)
"""


@pytest.fixture(autouse=True, scope="module")
def _a_bed_can_be_made() -> None:
    if reason := missing():
        pytest.skip(reason)


@pytest.fixture(scope="module")
def bed() -> Iterator[Bed]:
    links = [Link("edge", "fog", mbit=SLOW, delay_ms=DELAY_MS), Link("fog", "cloud")]
    with open_bed(links, cpus={"cloud": 0.1}) as bed:
        yield bed


def measured_rate(bed: Bed) -> float:
    """Mbit/s of half a megabyte from edge to fog, as the receiver has it."""
    with NodeProcess(bed, "fog", *PYTHON, SINK) as sink:
        assert sink.hear() == "listening"
        assert bed.run("edge", [*PYTHON, FLOOD], timeout=SECONDS).returncode == 0
        return float(sink.hear())


def test_a_link_holds_its_rate_and_takes_another(bed: Bed) -> None:
    slow = measured_rate(bed)
    bed.set_rate("fog", "edge", FAST)
    fast = measured_rate(bed)
    bed.set_rate("edge", "fog", SLOW)
    assert 0.2 * SLOW < slow < 1.25 * SLOW  # a busy machine is slower, none is faster
    assert 1.25 * SLOW < fast < 1.25 * FAST


def test_a_link_has_its_delay(bed: Bed) -> None:
    with (
        NodeProcess(bed, "fog", *PYTHON, ECHO) as echo,
        NodeProcess(bed, "edge", *PYTHON, CALLER, "fog") as caller,
    ):
        assert echo.hear() == "listening"
        begin = time.monotonic()
        caller.say("ping")
        assert {caller.hear(), caller.hear()} == {"sent", "ping"}
        assert time.monotonic() - begin >= 2 * DELAY_MS / 1000


def test_a_cut_loses_everything_and_a_heal_restores(bed: Bed) -> None:
    with (
        NodeProcess(bed, "cloud", *PYTHON, ECHO) as echo,
        NodeProcess(bed, "edge", *PYTHON, CALLER, "cloud") as caller,
    ):
        assert echo.hear() == "listening"  # behind the fog: two links away
        caller.say("before")
        assert {caller.hear(), caller.hear()} == {"sent", "before"}
        bed.cut("edge", "fog")
        for word in ("lost", "lost", "lost"):
            caller.say(word)
            assert caller.hear() == "sent"
        bed.heal("edge", "fog")
        caller.say("after")
        assert {caller.hear(), caller.hear()} == {"sent", "after"}


def test_what_is_frozen_goes_on_when_thawed(bed: Bed) -> None:
    with NodeProcess(bed, "edge", *PYTHON, REPEATER) as repeater:
        repeater.say("one")
        assert repeater.hear() == "one"
        bed.freeze("edge")
        repeater.say("two")
        with pytest.raises(queue.Empty):
            repeater.hear(seconds=0.3)
        bed.thaw("edge")
        assert repeater.hear() == "two"


@pytest.mark.parametrize("frozen", [False, True])
def test_what_is_killed_is_gone_and_the_node_stays(bed: Bed, frozen: bool) -> None:
    with (
        NodeProcess(bed, "edge", *PYTHON, REPEATER) as repeater,
        NodeProcess(bed, "fog", *PYTHON, REPEATER) as other,
    ):
        repeater.say("one")
        assert repeater.hear() == "one"
        if frozen:
            bed.freeze("edge")
        bed.kill("edge")
        assert repeater.process.wait(SECONDS) != 0
        other.say("here")
        assert other.hear() == "here"
        assert bed.run("edge", ["hostname"], timeout=SECONDS).stdout == "edge\n"


def test_a_signal_reaches_the_command(bed: Bed) -> None:
    with NodeProcess(bed, "edge", *PYTHON, ASKED_TO_END) as started:
        assert started.hear() == "ready"
        bed.signal(started.process, signal.SIGTERM)
        assert started.process.wait(SECONDS) == 7


def test_a_share_of_the_cpus_holds(bed: Bed) -> None:
    with NodeProcess(bed, "cloud", *PYTHON, SPIN):
        deadline = time.monotonic() + SECONDS
        while not bed.throttled("cloud"):
            assert time.monotonic() < deadline
            time.sleep(0.02)


def test_nodes_share_no_memory(bed: Bed) -> None:
    path = Path("/dev/shm/flowedge-testbed-here")
    assert bed.run("edge", ["touch", str(path)], timeout=SECONDS).returncode == 0
    assert bed.run("edge", ["test", "-e", str(path)], timeout=SECONDS).returncode == 0
    assert bed.run("fog", ["test", "-e", str(path)], timeout=SECONDS).returncode == 1
    assert not path.exists()


def test_at_the_end_nothing_is_left() -> None:
    with open_bed([Link("edge", "fog")]) as bed:
        name, process = bed.name, bed.popen("edge", ["sleep", "1000"])
        bed.freeze("edge")
    assert process.wait(SECONDS) != 0
    assert groups(GROUP.format(bed=name, node="*")) == []
    assert not (STATES / name).exists()


@pytest.mark.parametrize("state", ["running", "frozen"])
def test_after_its_owner_was_killed_nothing_is_left(state: str) -> None:
    name = f"test-{os.getpid()}-{state}"
    owner = subprocess.Popen([sys.executable, "-c", OWNER, name, state], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    init = os.pidfd_open(int(owner.stdout.readline()))
    try:
        owner.kill()
        owner.wait()
        if state == "frozen":
            clear_leftovers()
        assert select.select([init], [], [], SECONDS)[0]  # its first process has ended, and so have all others
        clear_leftovers()
        assert groups(GROUP.format(bed=name, node="*")) == []
        with pytest.raises(FileNotFoundError):
            attach(name)
    finally:
        os.close(init)
        owner.stdout.close()


def test_the_command_line_reaches_a_bed_that_runs() -> None:
    tool = [sys.executable, "-m", "tools.testbed", "--name", f"test-{os.getpid()}"]
    inner = [*tool, "run", "gate", "--", "hostname"]
    done = subprocess.run([*tool, "up", "-l", "gate-hub:10:2", "--", *inner], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "gate         10.77.0.1",
        "hub          10.77.0.2",
        "gate - hub: 10 Mbit/s, 2 ms each way",
        "gate",
    ]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["cut", "edge", "fog"], 'no test bed "nowhere" runs'),
        (["up", "-l", "edge"], 'the link "edge" is not FIRST-SECOND'),
        (["up", "-l", "a-b", "-l", "c-d"], "a cannot reach c, d"),
        (["up", "-l", "a-b", "-l", "b-a"], "two links between the same nodes"),
        (["up", "-l", "a-a"], "a link from a to itself"),
        (["up", "-l", "a-b", "--cpus", "c=1"], "c has a share of the CPUs but no link"),
        (["up", "-l", "averylongname-b"], "at most 12 letters"),
        (["--name", "a/b", "up"], 'a test bed called "a/b"'),
        (["up", "--", "flowedge-is-not-here"], "No such file or directory: 'flowedge-is-not-here'"),
    ],
)
def test_a_mistake_is_one_sentence(words: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    from tools.testbed.__main__ import main

    assert main(["--name", "nowhere", *words]) == 1
    errors = capsys.readouterr().err
    assert sentence in errors
    assert errors.count("\n") == 1
