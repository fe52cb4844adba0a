"""Names of topics, and how this machine's runs find one another: on loopback, without multicast.

`flowedge/<graph>/<operator>/<camera>` carries an operator's output.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import stat
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flowedge.errors import UserError

if TYPE_CHECKING:
    import zenoh

ZENOH_PORT = 7447
"""Where a Zenoh client looks first; a second run on the machine takes any free port."""

ATTEMPTS = 5
"""How often a run tries to listen: several that start at once find the same port free."""


@dataclass(frozen=True)
class RunningGraph:
    """A graph that runs on this machine and the Zenoh endpoint at which it can be tapped."""

    graph: str
    pid: int
    endpoint: str
    operators: list[str]


def topic(graph: str, operator: str, camera: str) -> str:
    """The topic of an operator's output for one camera ("*" for all).

    >>> topic("crossing", "Detect", "north")
    'flowedge/crossing/Detect/north'
    """
    return f"flowedge/{graph}/{operator}/{camera}"


def open_router() -> tuple[zenoh.Session, str]:
    """A Zenoh session that others on this machine can connect to, and its endpoint."""
    import zenoh

    for attempt in range(1, ATTEMPTS + 1):
        endpoint = f"tcp/127.0.0.1:{_free_port()}"
        try:
            return zenoh.open(_config("router", listen=[endpoint])), endpoint
        except zenoh.ZError:  # another run has taken the port since we looked
            if attempt == ATTEMPTS:
                raise
    raise AssertionError("unreachable: the last attempt returns or raises")


def connect(endpoint: str) -> zenoh.Session:
    """A Zenoh session that is a client of the router at `endpoint`."""
    import zenoh

    return zenoh.open(_config("client", connect=[endpoint]))


@contextlib.contextmanager
def announced(graph: str, endpoint: str, operators: Sequence[str]) -> Iterator[None]:
    """Let `running` find this process's graph for as long as the context lasts."""
    running()  # clears away what killed runs left
    path = _folder() / f"{graph}.{os.getpid()}.json"
    partial = path.with_suffix(".tmp")
    partial.write_text(json.dumps(asdict(RunningGraph(graph, os.getpid(), endpoint, list(operators)))))
    partial.rename(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def running() -> list[RunningGraph]:
    """The graphs that run on this machine now; what a killed run left behind is cleared away."""
    found = []
    for path in sorted(_folder().glob("*.json")):
        try:
            candidate = RunningGraph(**json.loads(path.read_text()))
            os.kill(candidate.pid, 0)
        except ProcessLookupError:
            path.unlink(missing_ok=True)
        except (OSError, ValueError, TypeError):
            continue  # it ended just now, or is none of ours
        else:
            found.append(candidate)
    return found


def _folder() -> Path:
    """A folder of this user's alone; raises `UserError` where there is none to be had."""
    base = os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()
    folder = Path(base) / f"flowedge-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.lstat()
    except OSError as error:
        raise UserError(f"{folder}: {error.strerror}; set XDG_RUNTIME_DIR to a folder of yours") from None
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise UserError(f"{folder} is not a folder of yours alone; remove it or set XDG_RUNTIME_DIR")
    return folder


def _free_port() -> int:
    for port in (ZENOH_PORT, 0):
        with socket.socket() as candidate, contextlib.suppress(OSError):
            candidate.setsockopt(
                socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
            )  # a run that just ended is no obstacle
            candidate.bind(("127.0.0.1", port))
            return int(candidate.getsockname()[1])
    raise OSError("no free port on the loopback interface")


def _config(mode: str, *, listen: list[str] | None = None, connect: list[str] | None = None) -> zenoh.Config:
    import zenoh

    config = zenoh.Config()
    settings = {
        "mode": mode,
        "listen/endpoints": listen or [],
        "connect/endpoints": connect or [],
        "scouting/multicast/enabled": False,
        "scouting/gossip/enabled": False,
        "scouting/delay": 0,  # there is nobody to wait for: half a second otherwise
        "transport/shared_memory/enabled": False,  # pixels do not travel here; a kill would leave segments
    }
    for key, value in settings.items():
        config.insert_json5(key, json.dumps(value))
    return config
