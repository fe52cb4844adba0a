"""What the workers of a run use, over all the lives of each."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from flowedge.runtime.workers.node import Node
from flowedge.runtime.workers.shares import Share

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class WorkerUse:
    """CPU seconds and resident bytes of a worker as of the last look; `before` is of lives that have ended.

    `share` is the share of cores to which it is kept, None where it has none.
    """

    pid: int | None = None
    before: float = 0.0
    this_life: float = 0.0
    rss: int = 0
    peak_rss: int = 0
    deaths: int = 0
    sent_again: int = 0
    share: Share | None = None

    @property
    def cpu_seconds(self) -> float:
        """Of all lives."""
        return self.before + self.this_life


class Usage:
    """Looks at the processes of workers; what one used after the last look at it is not known."""

    def __init__(self) -> None:
        self._nodes: list[Node] = []
        self.workers: Mapping[str, WorkerUse] = {}

    def of(self, node: Node) -> None:
        """Look at the workers of this node as well from now on."""
        self._nodes.append(node)

    def look(self) -> None:
        """Note what every worker has used so far; to be called about once a second."""
        if not self._nodes:
            return
        uses = dict(self.workers)
        for node in self._nodes:
            for name in node.names:
                self._look_at(node, name, uses.setdefault(name, WorkerUse()))
        self.workers = uses

    def _look_at(self, node: Node, name: str, use: WorkerUse) -> None:
        pid = node.pid(name)
        if pid != use.pid:
            use.before, use.this_life, use.rss, use.pid = use.cpu_seconds, 0.0, 0, pid
        use.deaths, use.sent_again = node.deaths[name], node.sent_again[name]
        use.share = node.share(name)
        if pid and node.machine.is_here:
            _read(pid, use)
        elif reported := node.usage(name):
            use.this_life, use.rss = reported.cpu_seconds, reported.memory
            use.peak_rss = max(use.peak_rss, use.rss)


def _read(pid: int, use: WorkerUse) -> None:
    """Take what the kernel says of a process; nothing where it has just ended."""
    try:
        times = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return
    use.this_life = (int(times[11]) + int(times[12])) / _TICKS
    sizes = dict(line.split(":", 1) for line in status.splitlines())
    if "VmRSS" in sizes:  # a process that has ended and was not waited for has none
        use.rss = int(sizes["VmRSS"].split()[0]) * 1024
        use.peak_rss = max(use.peak_rss, int(sizes["VmHWM"].split()[0]) * 1024)
