"""The command line, as its user has it: in a process of its own, or, sooner answered, inside the tests'."""

from __future__ import annotations

import contextlib
import faulthandler
import fcntl
import io
import logging
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

from flowedge.cli import main

SECONDS = 300.0
"""How long a command may take: none gets near it unless it hangs."""

GRAPHS = Path(__file__).resolve().parents[2] / "graphs"
QUICKSTART = str(GRAPHS / "quickstart.py")


class Flowedge:
    """Runs `flowedge` in a folder of its own; what it announces of itself stays there too."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._own = {"XDG_RUNTIME_DIR": str(folder), "XDG_CACHE_HOME": str(folder / "cache")}
        self._environment = {**os.environ, **self._own}
        self._environment.pop("FLOWEDGE_MODELS", None)
        self._started: list[subprocess.Popen[str]] = []

    def __call__(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end in this process, for what begins no run: a process takes a second longer.

        What is not a `UserError`, the command's traceback, fails the test.
        """
        output, errors = io.StringIO(), io.StringIO()
        with pytest.MonkeyPatch.context() as patch, _logging_as_in_a_new_process():
            patch.chdir(self.folder)
            patch.delenv("FLOWEDGE_MODELS", raising=False)
            for name, value in self._own.items():
                patch.setenv(name, value)
            patch.setattr(sys, "argv", ["flowedge", *words])
            patch.setattr(faulthandler, "enable", lambda *_: None)  # pytest has its own
            with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
                code = _exit_code_of_main()
        return subprocess.CompletedProcess(words, code, output.getvalue(), errors.getvalue())

    def process(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end in a process of its own."""
        process = self.start(*words)
        output, errors = process.communicate(timeout=SECONDS)
        return subprocess.CompletedProcess(words, process.returncode, output, errors)

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Begin a command in a process of its own."""
        process = subprocess.Popen(
            [sys.executable, "-c", "from flowedge.cli import main; main()", *words],
            cwd=self.folder,
            env=self._environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self._started.append(process)
        return process

    def kill_all(self) -> None:
        """Leave nothing behind, also when a test has failed: no process, and none that it started."""
        for process in self._started:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()

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
        process.wait(SECONDS)
        return "\n".join(_visible(output.decode(errors="replace")))

    def typed_on_terminal(self, keys: str, after: str, *words: str) -> tuple[str, int]:
        """Type keys once a terminal shows a text; all that it showed, without escapes, and the exit code."""
        main, side = pty.openpty()
        fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 160, 0, 0))
        command = [sys.executable, "-c", "from flowedge.cli import main; main()", *words]
        environment = {**self._environment, "TERM": "xterm"}
        process = subprocess.Popen(
            command, cwd=self.folder, env=environment, stdin=side, stdout=side, stderr=side
        )
        os.close(side)
        output, typed = "", False
        with contextlib.suppress(OSError):
            while data := os.read(main, 65536):
                output += re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", data.decode(errors="replace"))
                if not typed and after in output:
                    typed = bool(os.write(main, keys.encode()))
        os.close(main)
        return output, process.wait(SECONDS)


def _exit_code_of_main() -> int:
    try:
        main()
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


@contextlib.contextmanager
def _logging_as_in_a_new_process() -> Iterator[None]:
    """Without pytest's handlers, so that the command sets up logging as it does for its user."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers.clear()
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)


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
