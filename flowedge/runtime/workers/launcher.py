"""What `flowedge node` runs: it dials out to a run, and starts and ends workers on its machine for it.

It knows nothing of graphs. Its workers are its children, so the kernel kills them when it is gone, whatever
ends it. Runs come and go; one at a time is served. When its run is out of reach for a while, or comes back
after it was, all workers are killed: the run has long taken their work for lost, and starts new ones.
"""

from __future__ import annotations

import logging
import os
import secrets
import select
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from flowedge.plane.access import from_node, node_topic, to_node
from flowedge.plane.clock import Clock
from flowedge.plane.credentials import Credentials
from flowedge.plane.topics import watch
from flowedge.plane.transports.requests import End, Ended, Joined, Launch, Launched, Message, pack, unpack
from flowedge.profiling.measure import cores_here
from flowedge.runtime.workers.network import JPEG_QUALITY, LAUNCHER, PYTHON
from flowedge.runtime.workers.process import LocalProcess
from flowedge.runtime.workers.settings import Dialling, Settings
from flowedge.version import __version__
from flowedge.wire.fields import WireError

if TYPE_CHECKING:
    import zenoh

log = logging.getLogger("flowedge.node")

AWAY_SECONDS = 10.0
"""How long workers wait for a run that is out of reach."""

_TICK_SECONDS = 1.0
_CHANNEL = 256


def description(tier: str = "") -> Joined:
    """What this machine is like."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return Joined(__version__, PYTHON, tier, cores_here(), pages)


class Launcher:
    """Launches workers for the run that `session` reaches, until `stop`.

    Its workers dial the same `endpoint` with the same `credentials`.
    """

    def __init__(
        self,
        name: str,
        session: zenoh.Session,
        description: Joined,
        endpoint: str,
        credentials: Credentials | None = None,
        *,
        insecure: bool = False,
        clock: Clock = time.monotonic,
    ) -> None:
        self.name = name
        self._session = session
        self._description = description
        self._endpoint = endpoint
        self._credentials = credentials
        self._insecure = insecure
        self._clock = clock
        self._processes: dict[str, LocalProcess] = {}
        self._by_fd: dict[int, str] = {}
        self._tasks: deque[Callable[[], None]] = deque()
        self._poll = select.poll()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._poll.register(self._wake, select.POLLIN)
        self._stopping = False
        self._instance = secrets.token_hex(4)
        self._lost_at: float | None = None

    def run(self) -> None:
        """Serve until `stop` is called. Workers are children of the thread that runs this."""
        import zenoh

        orders: zenoh.Subscriber[Any] = self._session.declare_subscriber(
            to_node(self.name, LAUNCHER), zenoh.handlers.FifoChannel(_CHANNEL)
        )
        token = self._session.liveliness().declare_token(node_topic(self.name, self._instance))
        self._publisher = self._session.declare_publisher(
            from_node(self.name, LAUNCHER),
            congestion_control=zenoh.CongestionControl.BLOCK,
            priority=zenoh.Priority.INTERACTIVE_HIGH,
            express=True,
        )
        watch(self._publisher, lambda is_there: self._do(lambda: self._run_seen(is_there)))
        threading.Thread(target=self._listen, args=(orders,), name="flowedge-orders", daemon=True).start()
        try:
            while not self._stopping:
                self._wait()
        finally:
            token.undeclare()  # type: ignore[no-untyped-call]
            self._kill_all()
            self._session.close()  # type: ignore[no-untyped-call]

    def stop(self) -> None:
        """Let `run` come to its end; for signal handlers, too."""
        self._stopping = True
        os.eventfd_write(self._wake, 1)

    def _do(self, task: Callable[[], None]) -> None:
        """Have something done by the thread of `run`."""
        self._tasks.append(task)
        os.eventfd_write(self._wake, 1)

    def _wait(self) -> None:
        """Do what there is to do, or wait for it."""
        for fd, _ in self._poll.poll(1000 * _TICK_SECONDS):
            if fd == self._wake:
                os.eventfd_read(self._wake)
            else:
                self._bury(fd)
        while self._tasks and not self._stopping:
            self._tasks.popleft()()
        if self._lost_at is not None and self._clock() - self._lost_at > AWAY_SECONDS and self._processes:
            log.warning("the run has been out of reach for %.0f s: its workers are ended", AWAY_SECONDS)
            self._kill_all()

    def _run_seen(self, is_there: bool) -> None:
        """A run has come into reach, or is out of it."""
        if not is_there:
            self._lost_at = self._lost_at or self._clock()
            log.warning("the run is out of reach")
            return
        self._lost_at = None
        self._kill_all()
        self._say(self._description)
        log.info("works for the run at %s", self._endpoint)

    def _listen(self, orders: zenoh.Subscriber[Any]) -> None:
        """The thread that takes orders."""
        import zenoh

        while True:
            try:
                message = unpack(orders.recv().payload.to_bytes()).message
            except zenoh.ZError:  # the session has been closed
                return
            except WireError as error:
                log.warning("a message was refused: %s", error)
                continue
            match message:
                case Launch() as launch:
                    self._do(lambda launch=launch: self._launch(launch))  # type: ignore[misc]
                case End(token, now):
                    self._do(lambda token=token, now=now: self._end(token, now))  # type: ignore[misc]
                case other:
                    log.warning("%s is not for a launcher", type(other).__name__)

    def _launch(self, launch: Launch) -> None:
        process = LocalProcess(
            Settings(
                token=launch.token,
                endpoint=self._endpoint,
                parent=os.getpid(),
                path=sys.path,
                threads=launch.threads,
                parameters=launch.parameters,
                level=launch.level,
                memory=0,
                quality=JPEG_QUALITY,
                dials=Dialling.of(self._credentials, insecure=self._insecure),
            )
        )
        self._processes[launch.token] = process
        self._by_fd[process.fd] = launch.token
        self._poll.register(process.fd, select.POLLIN)
        self._say(Launched(launch.token, process.pid))

    def _end(self, token: str, now: bool) -> None:
        if process := self._processes.get(token):
            if now:
                process.kill()
            else:
                process.terminate()
        else:
            self._say(Ended(token, "is not there"))

    def _bury(self, fd: int) -> None:
        """A worker has ended: tell the run."""
        token = self._by_fd.pop(fd, None)
        if token is None:
            return
        self._poll.unregister(fd)
        self._say(Ended(token, self._processes.pop(token).ending()))

    def _kill_all(self) -> None:
        for process in self._processes.values():
            process.kill()
        for fd, token in list(self._by_fd.items()):
            self._poll.unregister(fd)
            self._processes.pop(token).ending()
            del self._by_fd[fd]

    def _say(self, message: Message) -> None:
        self._publisher.put(pack(0, "", message))
