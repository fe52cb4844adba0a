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
def redis_server(*options: str) -> Iterator[RedisServer]:
    """Start a server on a free port of this machine; skips the test where there is none to start."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("needs the program redis-server")
    if find_spec("redis") is None:
        pytest.skip("needs the package redis")
    port = free_port()
    words = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", *options]
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(words, cwd=folder, stdout=subprocess.PIPE, text=True)
        server = RedisServer(port, process)
        try:
            assert process.stdout is not None
            assert any("Ready to accept connections" in line for line in process.stdout), "redis-server ended"
            yield server
        finally:
            server.stop()
            process.stdout.close()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
