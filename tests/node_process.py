"""A process in a node of the test bed, with which a test talks line by line."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import threading
from typing import Self

from tools.testbed import Bed

SECONDS = 60.0
"""How long anything may take that will come for sure."""


class NodeProcess:
    """Runs a command in a node for as long as the context lasts."""

    def __init__(self, bed: Bed, node: str, *command: str) -> None:
        self._bed, self._node = bed, node
        self.process: subprocess.Popen[str] = bed.popen(
            node, command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        self._heard: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def say(self, line: str) -> None:
        """Write a line to its input."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")

    def hear(self, seconds: float = SECONDS) -> str:
        """The next line of its output. Raises `queue.Empty` where none comes in time."""
        return self._heard.get(timeout=seconds)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._bed.thaw(self._node)  # a test may have failed meanwhile; what is frozen does not end
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self._reader.join()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._heard.put(line.strip())
