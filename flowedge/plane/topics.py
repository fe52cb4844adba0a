"""Names of topics, and how this machine's runs find one another.

`flowedge/<graph>/<operator>/<camera>` carries an operator's output. A run listens at a Unix socket in a folder
that only its user may enter, so the operating system keeps every other user of the machine out; a port on the
loopback interface would be open to all of them. Who connects may subscribe and do nothing else: the session
refuses to pass on what a client publishes, so nobody can put a false or an old value on a topic.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import stat
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowedge.errors import UserError

if TYPE_CHECKING:
    import zenoh

SCHEME = "unixsock-stream/"
"""What a Zenoh endpoint begins with before the path of its socket."""

LONGEST_SOCKET_PATH = 107
"""Bytes that the operating system allows for the path of a Unix socket."""

_READ_ONLY = {
    "enabled": True,
    "default_permission": "deny",
    "rules": [
        {
            "id": "subscribe",
            "permission": "allow",
            "messages": ["declare_subscriber"],
            "flows": ["ingress"],
            "key_exprs": ["**"],
        },
        {
            "id": "receive",
            "permission": "allow",
            "messages": ["put"],
            "flows": ["egress"],
            "key_exprs": ["flowedge/**"],
        },
    ],
    "subjects": [{"id": "anyone"}],
    "policies": [{"rules": ["subscribe", "receive"], "subjects": ["anyone"]}],
}
"""Zenoh's access control: clients get what operators publish, and publish, answer and declare nothing."""


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
    """A Zenoh session that this user's other processes can read from, and its endpoint.

    Raises `UserError` where there is no place for its socket.
    """
    import zenoh

    running()  # clears away what killed runs left
    path = _folder() / f"{os.getpid()}-{secrets.token_hex(4)}.sock"
    if len(os.fsencode(path)) > LONGEST_SOCKET_PATH - len(".lock"):
        raise UserError(f"{path}: is too long for a socket; set XDG_RUNTIME_DIR to a folder with a short path")
    endpoint = f"{SCHEME}{path}"
    return zenoh.open(_config("router", listen=[endpoint], access_control=_READ_ONLY)), endpoint


def connect(endpoint: str) -> zenoh.Session:
    """A Zenoh session that is a client of the router at `endpoint`."""
    import zenoh

    return zenoh.open(_config("client", connect=[endpoint]))


@contextlib.contextmanager
def announced(graph: str, endpoint: str, operators: Sequence[str]) -> Iterator[None]:
    """Let `running` find this process's graph for as long as the context lasts."""
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
            socket = Path(candidate.endpoint.removeprefix(SCHEME))
            if socket.parent == path.parent:
                socket.unlink(missing_ok=True)
                socket.with_name(f"{socket.name}.lock").unlink(missing_ok=True)
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


def _config(
    mode: str,
    *,
    listen: list[str] | None = None,
    connect: list[str] | None = None,
    access_control: Mapping[str, Any] | None = None,
) -> zenoh.Config:
    import zenoh

    config = zenoh.Config()
    settings: dict[str, Any] = {
        "mode": mode,
        "listen/endpoints": listen or [],
        "connect/endpoints": connect or [],
        "scouting/multicast/enabled": False,
        "scouting/gossip/enabled": False,
        "scouting/delay": 0,  # there is nobody to wait for: half a second otherwise
        "transport/shared_memory/enabled": False,  # pixels do not travel here; a kill would leave segments
    }
    if access_control:
        settings["access_control"] = access_control
    for key, value in settings.items():
        config.insert_json5(key, json.dumps(value))
    return config
