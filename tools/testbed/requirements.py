"""What a machine must have for a test bed."""

from __future__ import annotations

import os
import shutil
import subprocess

from tools.testbed.groups import CPU, FREEZER, Group

TOOLS = {"ip": "iproute2", "tc": "iproute2", "unshare": "util-linux", "nsenter": "util-linux"}
"""Commands, and the Debian packages that have them."""


def missing() -> str | None:
    """Why there can be no test bed on this machine, or None."""
    if os.geteuid() != 0:
        return "a test bed needs root"
    for command, package in TOOLS.items():
        if shutil.which(command) is None:
            return f"a test bed needs the command {command}: apt-get install {package}"
    for controller in (CPU, FREEZER):
        if not (controller / "cgroup.procs").exists():
            return f"a test bed needs control groups of version 1 at {controller}"
    if reason := _cannot_join():
        return reason
    attempt = (
        "unshare -n -m -p -u -f --mount-proc tc qdisc add dev lo root tbf rate 1mbit burst 32kb latency 50ms"
    )
    done = subprocess.run(attempt.split(), capture_output=True, text=True)
    return f"a test bed needs namespaces and tc tbf: {done.stderr.strip()}" if done.returncode else None


def _cannot_join() -> str | None:
    """Why a process cannot be put into a control group, or None."""
    group = Group(f"flowedge-testbed-trial-{os.getpid()}")
    try:
        group.make()
        for path in group.joins:
            done = subprocess.run(["sh", "-c", f"echo $$ > {path}"], capture_output=True, text=True)
            if done.returncode:
                return f"a test bed needs to put processes into {path.parent.parent}: {done.stderr.strip()}"
    except OSError as error:
        return f"a test bed needs control groups that it can make: {error}"
    finally:
        group.remove()
    return None
