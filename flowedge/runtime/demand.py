"""How many cores a running graph uses, and how many it would use if it had them."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from flowedge.plane.clock import Clock
from flowedge.runtime.measuring import Window
from flowedge.runtime.run import Run

_TICKS = os.sysconf("SC_CLK_TCK")

LEAST_SERVED = 0.1
"""The least share of the frames from which it is concluded what all of them would take."""


@dataclass(frozen=True)
class Demand:
    """Cores that a graph `used` and `wanted` on average over a while; `live` if all its cameras are."""

    used: float
    wanted: float
    live: bool


class FreeCores:
    """Measures the cores that other programs leave, from one call of `look` to the next."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._ours = os.sched_getaffinity(0)
        self._before, self._at = self._busy(), clock()

    def look(self, used: float) -> float:
        """How many were left, by others than those who used so many."""
        now, busy = self._clock(), self._busy()
        others = (busy - self._before) / max(now - self._at, 1e-9) - used
        self._before, self._at = busy, now
        return len(self._ours) - max(0.0, others)

    def _busy(self) -> float:
        """Seconds for which the cores that we may use have not been idle."""
        rows = (row.split() for row in Path("/proc/stat").read_text().splitlines() if row.startswith("cpu"))
        cores = {f"cpu{core}" for core in self._ours}
        # user, nice, system, idle, iowait, irq, softirq, steal; what guests use is in user.
        used = ([*row[1:4], *row[6:9]] for row in rows if row[0] in cores)
        return sum(int(ticks) for row in used for ticks in row) / _TICKS


class DemandMeter:
    """Measures a run from one call of `look` to the next.

    Live cameras want what all their frames would take: so many times what was used for those that were not
    lost. A graph that reads files wants the cores for which its threads have waited as well, as the kernel
    tells (`schedstat`; where it does not, just what it used).
    """

    def __init__(self, run: Run, clock: Clock = time.monotonic) -> None:
        self._run = run
        self._clock = clock
        self._measuring = run.measuring()
        self._before = _used_and_waited(run.processes())
        self._at = clock()

    def look(self) -> Demand:
        """What was used and wanted since the last call, or since this was made."""
        now, pids = self._clock(), self._run.processes()
        sums, window = _used_and_waited(pids), self._measuring.window()
        seconds = max(now - self._at, 1e-9)
        used, waited = (max(0.0, new - old) / seconds for new, old in zip(sums, self._before, strict=True))
        self._before, self._at = sums, now
        live = all(self._run.is_live(camera) for _, camera in self._run.cameras())
        return Demand(used, used / served(window) if live else used + waited, live)


def served(window: Window) -> float:
    """The share of the frames that were not lost, at least `LEAST_SERVED`."""
    produced = sum(camera.produced for camera in window.cameras.values())
    lost = sum(camera.lost for camera in window.cameras.values())
    return max(LEAST_SERVED, 1 - lost / produced) if produced else 1.0


def _used_and_waited(pids: Sequence[int]) -> tuple[float, float]:
    """Seconds of processor that processes have used, and that their threads have waited for one."""
    used = waited = 0.0
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            used += (int(fields[11]) + int(fields[12])) / _TICKS
            for thread in Path(f"/proc/{pid}/task").iterdir():
                waited += int((thread / "schedstat").read_text().split()[1]) / 1e9
        except OSError:  # it, or a thread of it, has just ended
            continue
    return used, waited
