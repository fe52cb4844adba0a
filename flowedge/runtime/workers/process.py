"""The process of a worker: what a node asks of one, wherever it runs, and one on this machine."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Protocol

from flowedge.runtime.workers.settings import Settings


class Process(Protocol):
    """A process that runs `flowedge.runtime.workers.worker`, on this machine or another.

    `fd` becomes readable when it has ended.
    """

    fd: int

    @property
    def pid(self) -> int:
        """Its id on its machine."""

    def terminate(self) -> None:
        """Ask it to end."""

    def kill(self) -> None:
        """End it at once."""

    def ending(self) -> str:
        """How it has ended, for a sentence that begins with it; `fd` is closed."""

    def activity(self) -> tuple[str, int]:
        """Its state as the kernel has it, and its ticks of processor time so far, as far as they are known."""


class LocalProcess:
    """A `Process` on this machine. It is made in a thread that outlives it."""

    def __init__(self, settings: Settings) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "flowedge.runtime.workers.worker"],
            stdin=subprocess.PIPE,
            env=_environment(settings.threads),
        )
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError), self._process.stdin as pipe:  # it may be dead already
            pipe.write(f"{settings.to_json()}\n".encode())
        self.fd = os.pidfd_open(self._process.pid)

    @property
    def pid(self) -> int:
        """Its id."""
        return self._process.pid

    def terminate(self) -> None:
        """Ask it to end."""
        self._process.terminate()

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()

    def ending(self) -> str:
        """How it has ended, for a sentence that begins with it; `fd` is closed."""
        status = self._process.wait()
        os.close(self.fd)
        if status >= 0:
            return f"ended with status {status}"
        try:
            return f"was killed by {signal.Signals(-status).name}"
        except ValueError:
            return f"was killed by signal {-status}"

    def activity(self) -> tuple[str, int]:
        """Its state as the kernel has it, and the ticks of processor time that it has used."""
        try:
            stat = Path(f"/proc/{self._process.pid}/stat").read_text()
        except OSError:  # it has just ended
            return "", 0
        fields = stat.rpartition(")")[2].split()
        return fields[0], int(fields[11]) + int(fields[12])


def _environment(threads: int | None) -> dict[str, str]:
    """That of this process, in which FlowEdge is found and libraries keep to so many threads."""
    root = str(Path(__file__).parents[3])
    path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
    limits = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OPENCV_FOR_THREADS_NUM")
    return {
        **os.environ,
        "PYTHONPATH": path,
        **({} if threads is None else dict.fromkeys(limits, str(threads))),
    }
