"""The command line as its user has it: a process of its own."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

GRAPHS = Path(__file__).resolve().parents[2] / "graphs"
QUICKSTART = str(GRAPHS / "quickstart.py")


class Flowedge:
    """Runs `flowedge` in a folder of its own; what it announces of itself stays there too."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._environment = {
            **os.environ,
            "XDG_RUNTIME_DIR": str(folder),
            "XDG_CACHE_HOME": str(folder / "cache"),
        }
        self._environment.pop("FLOWEDGE_MODELS", None)
        self._started: list[subprocess.Popen[str]] = []

    def start(self, *words: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", "from flowedge.cli import main; main()", *words],
            cwd=self.folder,
            env=self._environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self._started.append(process)
        return process

    def kill_all(self) -> None:
        """Leave nothing behind, also when a test has failed."""
        for process in self._started:
            process.kill()
            process.communicate()

    def __call__(self, *words: str) -> subprocess.CompletedProcess[str]:
        process = self.start(*words)
        output, errors = process.communicate(timeout=60)
        return subprocess.CompletedProcess(words, process.returncode, output, errors)

    def on_terminal(self, *words: str) -> str:
        """What a person sees of a run on a terminal of 160 columns, lines that were wiped out left out."""
        main, side = pty.openpty()
        fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 160, 0, 0))
        command = [sys.executable, "-c", "from flowedge.cli import main; main()", *words]
        environment = {**self._environment, "TERM": "xterm"}
        process = subprocess.Popen(command, cwd=self.folder, env=environment, stdout=side, stderr=side)
        os.close(side)
        output = b""
        with contextlib.suppress(OSError):  # what reading from a terminal ends with
            while data := os.read(main, 65536):
                output += data
        os.close(main)
        process.wait(60)
        return "\n".join(_visible(output.decode(errors="replace")))


def _visible(output: str) -> list[str]:
    """The lines that a terminal would show: those above which the cursor went up again were wiped out."""
    lines = [""]
    for piece in re.split(r"(\n|\x1b\[1A)", output.replace("\r", "")):
        if piece == "\n":
            lines.append("")
        elif piece == "\x1b[1A":
            lines.pop()
        elif "\x1b[2K" in piece:
            lines[-1] = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", piece.split("\x1b[2K")[-1])
        else:
            lines[-1] += re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", piece)
    return lines


@pytest.fixture
def flowedge(tmp_path: Path) -> Iterator[Flowedge]:
    command = Flowedge(tmp_path)
    yield command
    command.kill_all()
