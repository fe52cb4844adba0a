"""Names of topics, and how this machine's runs find one another.

`flowedge/<graph>/<operator>/<camera>` carries an operator's output, and `flowedge/@/graph/<graph>/state` says
what the run is like. A run listens at a Unix socket in a folder that only its user may enter, so the operating
system keeps every other user of the machine out; a port on the loopback interface would be open to all of them.
Who connects may subscribe and do nothing else: the session refuses to pass on what a client publishes, so
nobody can put a false or an old value on a topic.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import stat
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowedge.errors import UserError
from flowedge.plane.configuration import configuration

if TYPE_CHECKING:
    import zenoh

SCHEME = "unixsock-stream/"
"""What a Zenoh endpoint begins with before the path of its socket."""

LONGEST_SOCKET_PATH = 107
"""Bytes that the operating system allows for the path of a Unix socket."""

_STATES = "flowedge/@/graph/*/state"
"""`state_topic("*")`. It is named beside `**`, which matches nothing that begins with an @."""

_READ_ONLY = {
    "enabled": True,
    "default_permission": "deny",
    "rules": [
        {
            "id": "subscribe",
            "permission": "allow",
            "messages": ["declare_subscriber"],
            "flows": ["ingress"],
            "key_exprs": ["**", _STATES],
        },
        {
            "id": "receive",
            "permission": "allow",
            "messages": ["put"],
            "flows": ["egress"],
            "key_exprs": ["flowedge/**", _STATES],
        },
    ],
    "subjects": [{"id": "anyone"}],
    "policies": [{"rules": ["subscribe", "receive"], "subjects": ["anyone"]}],
}
"""Zenoh's access control: clients get what the run publishes, and publish, answer and declare nothing."""


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


def state_topic(graph: str) -> str:
    """The topic of what a run is like now, the report so far as JSON ("*" for all graphs).

    >>> state_topic("crossing")
    'flowedge/@/graph/crossing/state'
    """
    return f"flowedge/@/graph/{graph}/state"


def open_router(*, read_only: bool = True) -> tuple[zenoh.Session, str]:
    """A Zenoh session that this user's other processes can read from, and its endpoint.

    Unless it is `read_only` they can also publish: that is for the workers of a run and told to nobody else.
    Raises `UserError` where there is no place for its socket.
    """
    import zenoh

    running()  # clears away what killed runs left
    path = _folder() / f"{os.getpid()}-{secrets.token_hex(4)}.sock"
    if len(os.fsencode(path)) > LONGEST_SOCKET_PATH - len(".lock"):
        raise UserError(f"{path}: is too long for a socket; set XDG_RUNTIME_DIR to a folder with a short path")
    endpoint = f"{SCHEME}{path}"
    settings = {"access_control": _READ_ONLY} if read_only else None
    return zenoh.open(configuration("router", listen=[endpoint], settings=settings)), endpoint


def connect(endpoint: str, *, timeout: float = 10.0) -> zenoh.Session:
    """A Zenoh session that is a client of the router at `endpoint`, which must answer within `timeout` seconds.

    Raises `zenoh.ZError` where it does not.
    """
    import zenoh

    return zenoh.open(configuration("client", connect=[endpoint], timeout=timeout))


def heard(publisher: zenoh.Publisher) -> threading.Event:
    """An event that is set once somebody listens to the publisher: what is put before is lost."""
    event = threading.Event()
    watch(publisher, lambda is_heard: event.set() if is_heard else None)
    return event


def watch(publisher: zenoh.Publisher, tell: Callable[[bool], None]) -> None:
    """Have `tell` called with whether somebody listens to the publisher, now and whenever that changes.

    It is called in a thread of Zenoh, so it must not wait.
    """
    import zenoh

    def changed(status: zenoh.MatchingStatus) -> None:
        tell(status.matching)

    # Called in Zenoh's own thread: there is nothing here that it could wait for, and each other has one more.
    publisher.declare_matching_listener(zenoh.handlers.Callback(changed, indirect=False))
    now: Any = publisher.matching_status  # declared as bool by mistake
    changed(now)


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
    _clear_sockets()
    found = []
    for path in sorted(_folder().glob("*.json")):
        try:
            candidate = RunningGraph(**json.loads(path.read_text()))
            if not (isinstance(candidate.graph, str) and isinstance(candidate.endpoint, str)):
                continue
            os.kill(candidate.pid, 0)
        except ProcessLookupError:
            path.unlink(missing_ok=True)
        except (OSError, ValueError, TypeError):
            continue  # it ended just now, or is none of ours
        else:
            found.append(candidate)
    return found


def _clear_sockets() -> None:
    """Remove the sockets of processes that are gone; a socket's name begins with the process's id."""
    for path in (*_folder().glob("*.sock"), *_folder().glob("*.sock.lock")):
        pid, _, _ = path.name.partition("-")
        with contextlib.suppress(OSError, ValueError):
            try:
                os.kill(int(pid), 0)
            except ProcessLookupError:
                path.unlink(missing_ok=True)


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
