"""Groups are made where processes can be limited, in either version; none is left of a process that is gone."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from flowedge.runtime.workers import cgroups
from flowedge.runtime.workers.cgroups import CgroupError

V1 = "32 31 0:29 {top} /sys/fs/cgroup/cpu\\040set rw,relatime - cgroup cgroup rw,cpu,cpuacct\n"
V2 = "41 31 0:38 {top} /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw\n"
DISK = "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"


class Machine:
    """Files as the kernel shows them, below a folder; removing a group takes its files along, as there."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        stat = f"proc/{os.getpid()}/stat"
        self.write(stat, Path("/", stat).read_text())
        monkeypatch.setattr(cgroups, "remove", self._remove)

    def write(self, path: str, text: str) -> Path:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    def v1(self, own: str = "/jobs/a", top: str = "/") -> Path:
        self.write("proc/self/cgroup", f"2:memory:/m\n1:cpu,cpuacct:{own}\n0::/\n")
        self.write("proc/self/mountinfo", DISK + V2.format(top="/") + V1.format(top=top))
        self.write("sys/fs/cgroup/cgroup.controllers", "hugetlb\n")
        folder = self.root / "sys/fs/cgroup/cpu set" / own.removeprefix(top).lstrip("/")
        folder.mkdir(parents=True)
        return folder

    def v2(self, own: str, **enabled: str) -> Path:
        """`enabled`: what groups have for those in them by name ("root": the topmost), "no" if they refuse."""
        self.write("proc/self/cgroup", f"0::{own}\n")
        self.write("proc/self/mountinfo", DISK + V2.format(top="/"))
        top = "sys/fs/cgroup"
        for name in ("", *(own[: match.end()] for match in re.finditer(r"/\w+", own))):
            self.write(f"{top}{name}/cgroup.controllers", "cpu memory\n")
            self.write(f"{top}{name}/cgroup.procs", "")
            control = f"{top}{name}/cgroup.subtree_control"
            state = enabled.get(name.rpartition("/")[2] or "root", "")
            if state == "no":
                (self.root / control).mkdir()  # a write fails, for root, too
            else:
                self.write(control, state)
        return self.root / top

    @staticmethod
    def _remove(group: Path) -> None:
        if not (group / "cgroup.procs").exists() or not (group / "cgroup.procs").read_text():
            for file in group.iterdir() if group.exists() else ():
                file.unlink()
            group.rmdir()


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


def test_version_1(machine: Machine) -> None:
    folder = machine.v1()
    parent = cgroups.parent(machine.root)
    group = parent.make("w 1", 0.5)
    assert (parent.version, group.parent) == (1, folder)
    assert group.name.endswith("-w_1")
    assert (group / "cpu.cfs_quota_us").read_text() == "5000"
    assert (group / "cpu.cfs_period_us").read_text() == "10000"
    cgroups.add(group, 77)
    assert (group / "cgroup.procs").read_text() == "77"


def test_a_mount_of_a_part_of_the_tree(machine: Machine) -> None:
    folder = machine.v1(own="/docker/box/a", top="/docker/box")
    assert cgroups.parent(machine.root).folder == folder == machine.root / "sys/fs/cgroup/cpu set/a"


def test_version_2(machine: Machine) -> None:
    top = machine.v2("/jobs/a", jobs="cpu memory", a="cpu")
    parent = cgroups.parent(machine.root)
    group = parent.make("w1", 2)
    assert (parent.version, group.parent) == (2, top / "jobs/a")
    assert (group / "cpu.max").read_text() == "20000 10000"


def test_limits_are_enabled_where_they_can_be(machine: Machine) -> None:
    top = machine.v2("/jobs/a")
    assert cgroups.parent(machine.root).folder == top / "jobs/a"
    assert (top / "jobs/a/cgroup.subtree_control").read_text() == "+cpu"


def test_a_group_with_processes_leaves_it_to_the_one_above(machine: Machine) -> None:
    top = machine.v2("/jobs/a", jobs="cpu", a="no")
    assert cgroups.parent(machine.root).folder == top / "jobs"


def test_nobody_leaves_a_limited_group(machine: Machine) -> None:
    top = machine.v2("/jobs/a", jobs="cpu", a="no")
    machine.write("sys/fs/cgroup/jobs/a/cpu.max", "50000 100000\n")
    with pytest.raises(CgroupError, match=rf"cgroup v2: {top}/jobs/a cannot limit groups in it"):
        cgroups.parent(machine.root)


def test_a_machine_without_the_controller(machine: Machine) -> None:
    machine.write("proc/self/cgroup", "0::/\n")
    machine.write("proc/self/mountinfo", DISK)
    with pytest.raises(CgroupError, match="no cgroup with the cpu controller is mounted"):
        cgroups.parent(machine.root)


def test_a_system_without_cgroups(tmp_path: Path) -> None:
    with pytest.raises(CgroupError, match=r"proc/self/cgroup: No such file"):
        cgroups.parent(tmp_path)


def test_groups_of_processes_that_are_gone_are_removed(machine: Machine) -> None:
    folder = machine.v1()
    parent = cgroups.parent(machine.root)
    ours = parent.make("w1", 1)
    began = ours.name.split("-")[1]
    reused = f"{os.getpid()}.{int(began.split('.')[1]) + 1}"
    for name in ("flowedge-4194305.7-1-w1", f"flowedge-{reused}-1-w1", "flowedge-strange", "other-4194305.7-1"):
        machine.write(str((folder / name / "cpu.cfs_quota_us").relative_to(machine.root)), "1000")
    parent.sweep()
    left = {group.name for group in folder.iterdir()}
    assert left == {ours.name, "flowedge-strange", "other-4194305.7-1"}


def test_a_limit_that_is_refused_leaves_no_group(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = machine.v1()
    write = Path.write_text

    def refusing(path: Path, text: str) -> int:
        if path.name == "cpu.cfs_quota_us":
            raise OSError(22, "Invalid argument")
        return write(path, text)

    monkeypatch.setattr(Path, "write_text", refusing)
    with pytest.raises(CgroupError, match=r"-w1: Invalid argument"):
        cgroups.parent(machine.root).make("w1", 64)
    assert list(folder.iterdir()) == []
