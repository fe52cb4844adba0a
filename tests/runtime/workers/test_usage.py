"""What workers use is known over all their lives."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from flowedge.runtime.workers.node import Node
from flowedge.runtime.workers.usage import Usage
from tests.runtime.workers.test_replicas import wait_for


def test_a_worker_that_dies_has_used_what_it_used() -> None:
    usage = Usage()
    usage.look()  # before there is a node
    assert usage.workers == {}
    with Node() as node:
        usage.of(node)
        node.start("a")

        def works() -> bool:
            usage.look()
            return "a" in usage.workers and usage.workers["a"].cpu_seconds > 0.05

        wait_for(works)
        first = usage.workers["a"]
        pid, used = first.pid, first.cpu_seconds
        assert pid is not None
        assert Path(f"/proc/{pid}").exists()
        assert 0 < first.rss <= first.peak_rss
        os.kill(pid, signal.SIGKILL)

        def another() -> bool:
            usage.look()
            return usage.workers["a"].pid not in (None, pid)

        wait_for(another)
        again = usage.workers["a"]
        assert again.deaths == 1
        assert again.cpu_seconds >= used
    usage.look()
    assert usage.workers["a"].pid is None
    assert usage.workers["a"].cpu_seconds >= used
