"""Shares of cores that a plan has reserved for workers, and how they are kept to them.

By a control group where one can be made: the kernel gives a worker no more than its share, parts of a core too.
Else by affinity: a worker gets as many whole cores as its share has, those that are reserved the least. Either
way its engines of inference take as many threads as its share has cores (`threads_for`), since a thread more
would only wait.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from flowedge.runtime.workers import cgroups
from flowedge.runtime.workers.cgroups import CgroupError

log = logging.getLogger("flowedge.node")


def threads_for(cores: float) -> int:
    """The threads that engines take in a worker with such a share."""
    return max(1, math.ceil(cores - 1e-9))


class Share(NamedTuple):
    """So many cores, and what keeps a worker to them: "cgroup v1", say, or "affinity to 1 core"."""

    cores: float
    kept_by: str


@dataclass
class _Held:
    """A worker's share: its control group, or the numbers of the cores that it may use."""

    cores: float
    group: Path | None = None
    cpus: Sequence[int] = ()
    told: bool = False


@dataclass
class Shares:
    """Keeps processes to shares of this machine's cores. Thread-safe.

    `root` is what /proc and /sys are below, other than / in tests. `cpus` are the cores that there are.
    """

    root: Path = Path("/")
    cpus: Sequence[int] = field(default_factory=lambda: sorted(os.sched_getaffinity(0)))
    _held: dict[str, _Held] = field(default_factory=dict, init=False)
    _parent: cgroups.Parent | None = field(default=None, init=False)
    _reason: str = field(default="", init=False)
    _lock: threading.RLock = field(default_factory=threading.RLock, init=False)

    def reserve(self, worker: str, cores: float) -> None:
        """Have a share ready for a worker."""
        with self._lock:
            group = self._group(worker, cores)
            self._held[worker] = _Held(cores, group, () if group else self._chosen(cores))

    def keep(self, worker: str, pid: int) -> None:
        """Keep a process to the share of a worker, if that has one; another process had it before, if any."""
        with self._lock:
            held = self._held.get(worker)
            if held is None:
                return
            if held.group is not None:
                try:
                    cgroups.add(held.group, pid)
                except CgroupError as error:
                    self._reason = str(error)
                    cgroups.remove(held.group)
                    held.group, held.cpus = None, self._chosen(held.cores)
            if held.group is None:
                _pin(pid, held.cpus)
            if not held.told:
                held.told = True
                log.info("worker %s %s", worker, self._sentence(held))

    def release(self, worker: str) -> None:
        """Give a share back, when its process has ended."""
        with self._lock:
            held = self._held.pop(worker, None)
        if held is not None and held.group is not None:
            cgroups.remove(held.group)

    def of(self, worker: str) -> Share | None:
        """The share of a worker; None where it has none.

        >>> shares = Shares(Path("/nowhere"), cpus=(0, 1))
        >>> shares.reserve("w1", 0.5)
        >>> shares.of("w1"), shares.of("w2")
        (Share(cores=0.5, kept_by='affinity to 1 core'), None)
        """
        with self._lock:
            held = self._held.get(worker)
            return None if held is None else Share(held.cores, self._means(held))

    def _group(self, worker: str, cores: float) -> Path | None:
        """A control group for a share, if one can be made; `_reason` says why it cannot."""
        try:
            if self._parent is None and not self._reason:
                self._parent = cgroups.parent(self.root)
                self._parent.sweep()
            return self._parent.make(worker, cores) if self._parent else None
        except CgroupError as error:
            self._reason = str(error)
            return None

    def _chosen(self, cores: float) -> tuple[int, ...]:
        """The cores for a share that has no group."""
        reserved = dict.fromkeys(self.cpus, 0.0)
        for held in self._held.values():
            for cpu in held.cpus:
                reserved[cpu] += held.cores / len(held.cpus)
        return chosen(reserved, cores)

    def _means(self, held: _Held) -> str:
        if held.group is not None and self._parent is not None:
            return f"cgroup v{self._parent.version}"
        return f"affinity to {_cores(len(held.cpus))}"

    def _sentence(self, held: _Held) -> str:
        if held.group is not None:
            return f"is kept to {_cores(held.cores)} by {self._means(held)}"
        less = "" if held.cores == len(held.cpus) else "; parts of a core are not enforced"
        return f"is to have {_cores(held.cores)} and is kept by {self._means(held)}{less} ({self._reason})"


def _cores(count: float) -> str:
    """
    >>> _cores(0.5), _cores(1)
    ('0.5 cores', '1 core')
    """
    return f"{count:g} core{'' if count == 1 else 's'}"


def chosen(reserved: Mapping[int, float], cores: float) -> tuple[int, ...]:
    """The cores for a share, when so much of each is reserved already.

    A part of a core goes where it fits beside others, and leaves whole cores to those that need them.

    >>> chosen({0: 0.0, 1: 0.5}, 0.5), chosen({0: 0.0, 1: 0.5}, 0.6), chosen({0: 0.0, 1: 0.5}, 1.5)
    ((1,), (0,), (0, 1))
    """
    count = min(len(reserved), threads_for(cores))
    if count == 1:
        fitting = [cpu for cpu, used in reserved.items() if used + cores <= 1 + 1e-9]
        if fitting:
            return (max(fitting, key=lambda cpu: (reserved[cpu], -cpu)),)
    return tuple(sorted(sorted(reserved, key=lambda cpu: (reserved[cpu], cpu))[:count]))


def _pin(pid: int, cpus: Sequence[int]) -> None:
    """Let all threads of a process use these cores only; those to come have it from the one that makes them."""
    pinned: set[str] = set()
    with contextlib.suppress(OSError):  # the process has ended
        while more := set(os.listdir(f"/proc/{pid}/task")) - pinned:
            for thread in more:
                with contextlib.suppress(OSError):  # the thread has
                    os.sched_setaffinity(int(thread), cpus)
            pinned |= more
