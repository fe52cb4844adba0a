"""Workers are kept to what a plan has for them, by what this machine allows, and it is said by what."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from flowedge.runtime.workers import cgroups
from flowedge.runtime.workers.cgroups import CgroupError
from flowedge.runtime.workers.node import Node
from flowedge.runtime.workers.shares import Share, Shares
from tests.runtime.workers.test_node import Owner

NOWHERE = Path("/nowhere")
"""Below it there is no cgroup."""


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    """One with two threads, that ends when its input does."""
    code = "import threading, sys; threading.Thread(target=sys.stdin.read).start(); print(1, flush=True)"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as running:
        assert running.stdout is not None
        running.stdout.readline()
        yield running


@pytest.fixture
def parent() -> cgroups.Parent:
    """Where groups are made on this machine, and processes put into them."""
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        found = cgroups.parent()
        group = found.make("trial", 1)
        try:
            cgroups.add(group, child.pid)
        finally:
            child.kill()
            child.wait()
            cgroups.remove(group)
    except CgroupError as error:
        pytest.skip(str(error))
    finally:
        child.kill()
        child.communicate()
    return found


def test_by_affinity_all_threads_of_a_process(
    process: subprocess.Popen[bytes], caplog: pytest.LogCaptureFixture
) -> None:
    cpu = max(os.sched_getaffinity(0))
    shares = Shares(NOWHERE, cpus=[cpu])
    shares.reserve("w1", 1)
    with caplog.at_level(logging.INFO, "flowedge"):
        shares.keep("w1", process.pid)
        shares.keep("w1", process.pid)
    assert all(os.sched_getaffinity(int(thread)) == {cpu} for thread in os.listdir(f"/proc/{process.pid}/task"))
    reason = "/nowhere/proc/self/cgroup: No such file or directory"
    assert caplog.messages == [f"worker w1 is to have 1 core and is kept by affinity to 1 core ({reason})"]


def test_parts_of_a_core_share_one_and_are_said_not_to_be_enforced(
    process: subprocess.Popen[bytes], caplog: pytest.LogCaptureFixture
) -> None:
    shares = Shares(NOWHERE, cpus=sorted(os.sched_getaffinity(0))[:1])
    shares.reserve("w1", 0.25)
    with caplog.at_level(logging.INFO, "flowedge"):
        shares.keep("w1", process.pid)
    assert "parts of a core are not enforced" in caplog.text
    assert shares.of("w1") == Share(0.25, "affinity to 1 core")


def test_who_has_no_share_is_left_alone(process: subprocess.Popen[bytes]) -> None:
    before = os.sched_getaffinity(process.pid)
    Shares(NOWHERE, cpus=[0]).keep("w1", process.pid)
    assert os.sched_getaffinity(process.pid) == before


def test_cores_go_back(process: subprocess.Popen[bytes]) -> None:
    shares = Shares(NOWHERE, cpus=[0, 1])
    shares.reserve("w1", 1)
    shares.release("w1")
    shares.reserve("w2", 2)
    assert shares.of("w1") is None
    assert shares.of("w2") == Share(2, "affinity to 2 cores")


def test_by_cgroup_where_one_can_be_made(parent: cgroups.Parent, process: subprocess.Popen[bytes]) -> None:
    before = set(parent.folder.iterdir())
    shares = Shares()
    shares.reserve("w1", 0.5)
    shares.keep("w1", process.pid)
    assert shares.of("w1") == Share(0.5, f"cgroup v{parent.version}")
    [group] = [folder for folder in set(parent.folder.iterdir()) - before if folder.name.endswith("-w1")]
    assert (group / "cgroup.procs").read_text().split() == [str(process.pid)]
    process.communicate()
    shares.release("w1")
    assert not group.exists()


def test_by_affinity_where_a_group_takes_no_process(
    parent: cgroups.Parent, process: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(group: Path, _: int) -> None:
        raise CgroupError(f"{group}: Permission denied")

    monkeypatch.setattr(cgroups, "add", refuse)
    shares = Shares()
    shares.reserve("w1", 1)
    shares.keep("w1", process.pid)
    assert shares.of("w1") == Share(1, "affinity to 1 core")
    assert len(os.sched_getaffinity(process.pid)) == 1
    assert not list(parent.folder.glob(f"flowedge-{os.getpid()}.*-w1"))


def test_a_worker_is_kept_to_its_share_in_every_life(parent: cgroups.Parent) -> None:
    owner = Owner()
    with Node() as node:
        node.start("w1", cores=0.5)
        node.own("w1", owner)
        assert owner.next()[0] == "up"
        [group] = parent.folder.glob(f"flowedge-{os.getpid()}.*-w1")
        first = node.pid("w1")
        assert first is not None
        assert (group / "cgroup.procs").read_text().split() == [str(first)]
        assert node.share("w1") == Share(0.5, f"cgroup v{parent.version}")
        os.kill(first, signal.SIGKILL)
        assert [owner.next()[0], owner.next()[0]] == ["down", "up"]
        again = node.pid("w1")
        assert again != first
        assert (group / "cgroup.procs").read_text().split() == [str(again)]
    assert not group.exists()


def test_a_run_that_was_killed_leaves_groups_for_the_next_to_remove(parent: cgroups.Parent) -> None:
    code = (
        "from flowedge.runtime.workers.cgroups import parent; "
        "import os; print(parent().make('w1', 1), flush=True)"
    )
    done = subprocess.run([sys.executable, "-c", f"{code}; os.kill(os.getpid(), 9)"], stdout=subprocess.PIPE)
    group = Path(done.stdout.decode().strip())
    assert group.exists()
    shares = Shares()
    shares.reserve("w1", 1)
    assert not group.exists()
    shares.release("w1")
