"""A real Redis server of a test's own."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec

import pytest

_PATIENCE = 60.0  # seconds for one answer: a busy machine must not make a test fail
_TRIES = 5  # ports: another program may take a free one before the server does


@dataclass
class RedisServer:
    port: int
    process: subprocess.Popen[str]

    @property
    def address(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


@contextmanager
def redis_server(*options: str, port: int | None = None) -> Iterator[RedisServer]:
    """Start a server on this port or a free one of this machine; skips the test where there is none to start.

    While it is there, stores wait longer for an answer than they do in a run.
    """
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("needs the program redis-server")
    if find_spec("redis") is None:
        pytest.skip("needs the package redis")
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr("flowedge.state.store._TIMEOUT", _PATIENCE)
        server = _started([program, "--bind", "127.0.0.1", "--save", "", *options], folder, port)
        try:
            yield server
        finally:
            _end(server)


def _started(words: list[str], folder: str, port: int | None) -> RedisServer:
    for _ in range(1 if port else _TRIES):
        chosen = port or free_port()
        process = subprocess.Popen(
            [*words, "--port", str(chosen)], cwd=folder, stdout=subprocess.PIPE, text=True
        )
        server, said = RedisServer(chosen, process), []
        assert process.stdout is not None
        for line in process.stdout:
            if "Ready to accept connections" in line:
                return server
            said.append(line)
        _end(server)
        if not any("already in use" in line for line in said):
            break
    raise AssertionError(f"redis-server ended:\n{''.join(said)}")


def _end(server: RedisServer) -> None:
    server.stop()
    assert server.process.stdout is not None
    server.process.stdout.close()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
