"""Control groups (version 1) of the test bed's nodes: their share of the CPUs, and freezing all at once."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import time
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

CPU = Path("/sys/fs/cgroup/cpu")
FREEZER = Path("/sys/fs/cgroup/freezer")
PERIOD_MICROSECONDS = 100_000


@dataclass(frozen=True)
class Group:
    """The processes of one node, all but its first, which keeps its network there."""

    name: str

    @property
    def _folders(self) -> tuple[Path, Path]:
        return CPU / self.name, FREEZER / self.name

    def make(self) -> None:
        """Make the group; a process joins by writing its id to each of `joins`."""
        for folder in self._folders:
            folder.mkdir(exist_ok=True)

    @property
    def joins(self) -> tuple[Path, ...]:
        """The files to which a process writes its id."""
        return tuple(folder / "cgroup.procs" for folder in self._folders)

    def set_cpus(self, cpus: float | None) -> None:
        """Allow so many CPUs, or all of them."""
        quota = -1 if cpus is None else int(cpus * PERIOD_MICROSECONDS)
        (CPU / self.name / "cpu.cfs_period_us").write_text(str(PERIOD_MICROSECONDS))
        (CPU / self.name / "cpu.cfs_quota_us").write_text(str(quota))

    def throttled(self) -> int:
        """How many periods have ended with processes of the group held back."""
        lines = (CPU / self.name / "cpu.stat").read_text().splitlines()
        return int(dict(line.split() for line in lines)["nr_throttled"])

    def freeze(self) -> None:
        """Stop all processes, as a machine does that hangs; returns when they stand."""
        self._set_state("FROZEN")

    def thaw(self) -> None:
        """Let the processes go on."""
        self._set_state("THAWED")

    def kill(self) -> None:
        """Kill all processes; returns when none is there."""
        if (FREEZER / self.name).exists():
            self.thaw()  # or they could not end
        while pids := self._pids():
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)

    def remove(self) -> None:
        """Kill what is in the group and remove it, if it is there."""
        for folder in self._folders:
            while folder.exists():
                self.kill()
                try:
                    folder.rmdir()
                except OSError as error:
                    if error.errno != errno.EBUSY:  # of processes that are about to end
                        raise
                    time.sleep(0.01)

    def _set_state(self, state: str) -> None:
        file = FREEZER / self.name / "freezer.state"
        file.write_text(state)
        while file.read_text().strip() != state:  # FREEZING comes first
            time.sleep(0.01)
            file.write_text(state)

    def _pids(self) -> set[int]:
        """All that can be killed: zombies, for whom nobody has waited yet, stay in a group."""
        joined = (file.read_text().split() for file in self.joins if file.exists())
        return {pid for pid in map(int, chain.from_iterable(joined)) if not _is_zombie(pid)}


def groups(pattern: str) -> list[Group]:
    """The groups there are whose names fit a pattern, in which "*" is any text."""
    names = {folder.name for controller in (CPU, FREEZER) for folder in controller.glob(f"{pattern}/")}
    return [Group(name) for name in sorted(names)]


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except OSError:
        return True
