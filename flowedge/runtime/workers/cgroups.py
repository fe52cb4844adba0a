"""Linux control groups: processes that together use no more than so many cores.

A group is a folder below the one that this process is in, of version 1 or 2, whichever has the `cpu` controller
here; systems with both are common. Its name says which process made it, since nobody removes it when that is
killed: the next one does.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from flowedge.errors import UserError

PERIOD_MICROSECONDS = 10_000
"""How often the kernel deals out processor time, at the most.

With the kernel's own default, 100 ms, half of a core lets a frame of 40 ms pass in 40 ms, and the next one
stands still for 50 ms somewhere on its way.
"""

TURN_MICROSECONDS = 5000
"""How long a group may work at a stretch where its share is small.

Short turns begin with cold caches. A detector took 37 ms of processor time for a frame when it had no limit,
and 64, 55, 49 and 47 ms when it had a tenth of a core in turns of 1, 2, 5 and 10 ms.
"""

LONGEST_MICROSECONDS = 1_000_000
LEAST_MICROSECONDS = 1000
"""The longest period and the least quota that the kernel takes."""

PREFIX = "flowedge"

_groups = itertools.count(1)


class CgroupError(UserError):
    """There is no group to be had; the message says why."""


@dataclass(frozen=True)
class Parent:
    """A cgroup of this `version` in whose `folder` groups with a limit can be made."""

    version: int
    folder: Path
    root: Path = Path("/")

    def make(self, name: str, cores: float) -> Path:
        """A new group, whose processes together may use so many cores. Raises `CgroupError`."""
        number, plain = next(_groups), re.sub(r"[^\w.-]", "_", name)
        owner = f"{os.getpid()}.{_began(self.root, os.getpid())}"
        group = self.folder / f"{PREFIX}-{owner}-{number}-{plain}"
        quota, period = _quota(cores)
        try:
            group.mkdir()
            if self.version == 1:
                (group / "cpu.cfs_period_us").write_text(str(period))
                (group / "cpu.cfs_quota_us").write_text(str(quota))
            else:
                (group / "cpu.max").write_text(f"{quota} {period}")
        except OSError as error:
            remove(group)
            raise CgroupError(f"{group}: {error.strerror}") from error
        return group

    def sweep(self) -> None:
        """Remove the groups of processes that are gone."""
        for group in self.folder.glob(f"{PREFIX}-*"):
            known = re.match(rf"{PREFIX}-(\d+)\.(\d+)-", group.name)
            if known and _began(self.root, int(known[1])) != int(known[2]):
                remove(group)


def parent(root: Path = Path("/")) -> Parent:
    """Where this process can make groups; `root` is what /proc and /sys are below.

    With version 2 groups in one that has processes itself cannot have limits, so it may be one further up, but
    none beyond a limit that this process is to keep to itself. Raises `CgroupError`.
    """
    paths = _paths(root)
    version, mounted, relative = _mounted(root, paths)
    own = mounted / relative
    if version == 1:
        if not os.access(own, os.W_OK):
            raise CgroupError(f"cgroup v1: {own} may not be written to")
        return Parent(1, own, root)
    reason = ""
    for folder in (own, *(above for above in own.parents if above.is_relative_to(mounted))):
        problem = _obstacle(folder)
        if problem is None:
            return Parent(2, folder, root)
        reason = reason or f"cgroup v2: {folder} {problem}"
        if _is_limited(folder):
            break
    raise CgroupError(reason)


def add(group: Path, pid: int) -> None:
    """Put a process with all its threads into a group. Raises `CgroupError`."""
    try:
        (group / "cgroup.procs").write_text(str(pid))
    except OSError as error:
        raise CgroupError(f"{group}: {error.strerror}") from error


def remove(group: Path) -> None:
    """Remove a group, unless there is a process in it."""
    with contextlib.suppress(OSError):
        group.rmdir()


def _quota(cores: float) -> tuple[int, int]:
    """Microseconds of processor time, and of the period in which they may be used.

    >>> _quota(0.5), _quota(2), _quota(0.1), _quota(0.0001)
    ((5000, 10000), (20000, 10000), (5000, 50000), (1000, 1000000))
    """
    period = max(PERIOD_MICROSECONDS, min(round(TURN_MICROSECONDS / cores), LONGEST_MICROSECONDS))
    return max(LEAST_MICROSECONDS, round(cores * period)), period


def _paths(root: Path) -> dict[str, str]:
    """The group of this process by controller, "" for that of version 2."""
    paths: dict[str, str] = {}
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, path = line.split(":", 2)
        paths.update(dict.fromkeys(controllers.split(","), path))
    return paths


def _mounted(root: Path, paths: dict[str, str]) -> tuple[int, Path, Path]:
    """The version that has the cpu controller, where it is mounted, and this process's group below that."""
    for line in _lines(root / "proc/self/mountinfo"):
        before, _, after = line.partition(" - ")
        top, point = map(_unescaped, before.split()[3:5])
        kind, _, options = after.split()[:3]
        version = {"cgroup": 1, "cgroup2": 2}.get(kind)
        path = paths.get("cpu" if version == 1 else "")
        if version is None or path is None:
            continue
        folder = root / point.lstrip("/")
        controllers = options.split(",") if version == 1 else _words(folder / "cgroup.controllers")
        if "cpu" in controllers and Path(path).is_relative_to(top):
            return version, folder, Path(path).relative_to(top)
    raise CgroupError("no cgroup with the cpu controller is mounted")


def _obstacle(folder: Path) -> str | None:
    """Why a group of version 2 cannot have groups with limits, having been told to."""
    if not (os.access(folder, os.W_OK) and os.access(folder / "cgroup.procs", os.W_OK)):
        return "may not be written to"
    if "cpu" in _words(folder / "cgroup.subtree_control"):
        return None
    try:
        (folder / "cgroup.subtree_control").write_text("+cpu")
    except OSError as error:
        return f"cannot limit groups in it ({error.strerror})"
    return None


def _is_limited(folder: Path) -> bool:
    """Whether processor time or memory of a group of version 2 is limited."""
    return any(_words(folder / file)[:1] not in ([], ["max"]) for file in ("cpu.max", "memory.max"))


def _began(root: Path, pid: int) -> int | None:
    """When a process began, in ticks since the machine did; None where there is none of this number."""
    try:
        return int((root / f"proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    except (OSError, IndexError):
        return None


def _lines(path: Path) -> Iterator[str]:
    try:
        yield from path.read_text().splitlines()
    except OSError as error:
        raise CgroupError(f"{path}: {error.strerror}") from error


def _words(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except OSError:
        return []


def _unescaped(text: str) -> str:
    r"""
    >>> _unescaped(r"/mnt/my\040groups")
    '/mnt/my groups'
    """
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)
