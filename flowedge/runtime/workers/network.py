"""Other machines that work for a run: they dial in, and their workers are spoken to over the network.

`flowedge node` on each of them is a `launcher`. To the run a node on another machine is kept like one on this:
what differs is how a process is started and ended, and how values travel.

    flowedge/@/node/<name>/<process>   liveliness of the machine
    flowedge/@/to/<name>/launcher      launch a worker, end one
    flowedge/@/from/<name>/launcher    it is there, a worker has been launched, has ended

A machine that cannot be heard of is taken for gone with all its workers within about a second (the lease of its
session). When it is back it has killed them, so what was cut off cannot act any more, and new ones are started.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
from collections.abc import Callable, Collection, Mapping
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Self

from flowedge.errors import RunError
from flowedge.graph.source_files import source_files
from flowedge.plane.access import from_node, node_topic, to_node
from flowedge.plane.transports.requests import (
    End,
    Ended,
    Envelope,
    Host,
    Joined,
    Launch,
    Launched,
    Message,
    pack,
    unpack,
)
from flowedge.runtime.workers.machine import put
from flowedge.runtime.workers.memory import Inline
from flowedge.runtime.workers.process import Process
from flowedge.runtime.workers.settings import from_worker
from flowedge.version import __version__
from flowedge.wire.fields import WireError

if TYPE_CHECKING:
    import zenoh

log = logging.getLogger("flowedge.network")

JPEG_QUALITY = 90
"""Of pictures that go to another machine, where the plan says nothing else."""

LAUNCHER = "launcher"

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"

_CHANNEL = 256


class Network:
    """The machines that dial in at a session which listens. Use it as a context manager; the session is closed.

    `parameters` are those of the command line, which graph files ask for.
    """

    def __init__(self, session: zenoh.Session, parameters: Mapping[str, str] | None = None) -> None:
        self._session = session
        self._parameters = dict(parameters or {})
        self._machines: dict[str, RemoteMachine] = {}
        self._lock = threading.Lock()
        self._over = False
        self._changed = threading.Condition(self._lock)

    def __enter__(self) -> Self:
        import zenoh

        self._said: zenoh.Subscriber[Any] = self._session.declare_subscriber(
            from_node("*", LAUNCHER), zenoh.handlers.FifoChannel(_CHANNEL)
        )
        self._alive: zenoh.Subscriber[Any] = self._session.liveliness().declare_subscriber(
            node_topic("*", "*"), zenoh.handlers.FifoChannel(_CHANNEL), history=True
        )
        for target in (self._read, self._watch):
            threading.Thread(target=target, name="flowedge-network", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()  # type: ignore[no-untyped-call]

    def machine(self, name: str) -> RemoteMachine:
        """The machine of this name, which need not be there yet."""
        with self._lock:
            if name not in self._machines:
                self._machines[name] = RemoteMachine(self._session, name, self._parameters)
            return self._machines[name]

    @property
    def machines(self) -> dict[str, Joined]:
        """What the machines that are there are like."""
        with self._lock:
            return {name: machine.joined for name, machine in self._machines.items() if machine.joined}

    def wait_for(self, name: str, seconds: float) -> bool:
        """Wait until a machine is there; whether it is."""
        machine = self.machine(name)
        with self._changed:
            return self._changed.wait_for(lambda: machine.is_there, seconds)

    def wait(self, known: Collection[str], seconds: float) -> set[str]:
        """The names of the machines that are there, once they are not those that are `known`, or it is time."""

        def names() -> set[str]:
            return {name for name, machine in self._machines.items() if machine.is_there}

        with self._changed:
            self._changed.wait_for(lambda: names() != set(known), seconds)
            return names()

    def _read(self) -> None:
        """The thread that reads what machines say."""
        for sample in _samples(self._said):
            name = str(sample.key_expr).removeprefix(from_worker("")).partition("/")[0]
            try:
                envelope = unpack(sample.payload.to_bytes())
            except WireError as error:
                log.warning("a message of node %s was refused: %s", name, error)
                continue
            self.machine(name).hear(envelope)
            with self._changed:
                self._changed.notify_all()

    def _watch(self) -> None:
        """The thread that sees machines go."""
        import zenoh

        for sample in _samples(self._alive):
            if sample.kind == zenoh.SampleKind.DELETE:
                self.machine(str(sample.key_expr).split("/")[-2]).lose()
                with self._changed:
                    self._changed.notify_all()


class RemoteMachine:
    """A machine that dials in, as a node uses it."""

    is_here = False

    def __init__(self, session: zenoh.Session, name: str, parameters: Mapping[str, str]) -> None:
        self.name = name
        self.prefix = f"{name}/"
        self.session = session
        self.carrier = Inline(JPEG_QUALITY)
        self.joined: Joined | None = None
        self._parameters = parameters
        self._processes: dict[str, RemoteProcess] = {}
        self._changed: Callable[[], None] = _nobody
        self._lock = threading.RLock()
        self._mail: SimpleQueue[tuple[zenoh.Publisher, bytearray] | None] = SimpleQueue()

    @property
    def is_there(self) -> bool:
        """Whether it has dialled in and can be heard of."""
        return self.joined is not None

    def open(self, changed: Callable[[], None]) -> None:
        """Be ready to launch; `changed` is called whenever `is_there` has changed."""
        import zenoh

        self._changed = changed
        self._publisher = self.session.declare_publisher(
            to_node(self.name, LAUNCHER),
            congestion_control=zenoh.CongestionControl.BLOCK,
            priority=zenoh.Priority.INTERACTIVE_HIGH,
            express=True,
        )
        threading.Thread(target=self._deliver, name=f"flowedge-to-{self.name}", daemon=True).start()

    def post(self, publisher: zenoh.Publisher, data: bytearray) -> None:
        """Have a message put on its topic soon: a link that is cut holds up who puts for seconds."""
        if self.is_there:
            self._mail.put((publisher, data))

    def order(self, steps: str) -> Host:
        """The order to host a chain, with the files of the user's that it needs."""
        return Host(steps, source_files(json.loads(steps)) or None)

    def launch(self, token: str) -> Process:
        """Start a worker's process."""
        process = RemoteProcess(self, token)
        with self._lock:
            self._processes[token] = process
            there = self.is_there
        if there:
            level = logging.getLogger("flowedge").getEffectiveLevel()
            self.say(Launch(token, self._parameters, level))
        else:
            self._end(token, "cannot be launched: its machine is gone")
        return process

    def close(self) -> None:
        """Say no more to it."""
        self._changed = _nobody
        self._mail.put(None)

    def say(self, message: Message) -> None:
        """Tell the machine's launcher something."""
        put(self._publisher, pack(0, "", message))

    def hear(self, envelope: Envelope) -> None:
        """Take what its launcher says."""
        match envelope.message:
            case Joined() as joined:
                self._join(joined)
            case Launched(token, pid):
                if process := self._processes.get(token):
                    process.pid = pid
            case Ended(token, reason):
                self._end(token, reason)
            case other:
                log.warning("node %s said %s, which is for nobody here", self.name, type(other).__name__)

    def lose(self) -> None:
        """It cannot be heard of any more."""
        if not self.is_there:
            return
        self.joined = None
        log.warning("node %s cannot be reached", self.name)
        self._end_all("cannot be reached: its machine is gone")
        self._changed()

    def _join(self, joined: Joined) -> None:
        if (joined.version, joined.python) != (__version__, PYTHON):
            log.error(
                "node %s is not used: it has FlowEdge %s on Python %s, and this is FlowEdge %s on Python %s; "
                "install the same on both",
                self.name, joined.version, joined.python, __version__, PYTHON,
            )  # fmt: skip
            return
        self._end_all("was killed when its machine dialled in anew")
        self.joined = joined
        log.info("node %s is there: %s, %d cores", self.name, joined.tier or "no tier", joined.cores)
        self._changed()

    def _end_all(self, reason: str) -> None:
        for token in list(self._processes):
            self._end(token, reason)

    def _end(self, token: str, reason: str) -> None:
        with self._lock:
            process = self._processes.pop(token, None)
        if process is not None:
            process.end(reason)

    def _deliver(self) -> None:
        """The thread that puts messages for workers on their topics."""
        while (letter := self._mail.get()) is not None:
            if self.is_there:
                put(*letter)


class RemoteProcess:
    """A worker's process on another machine."""

    def __init__(self, machine: RemoteMachine, token: str) -> None:
        self.pid = 0
        self.fd = os.eventfd(0, os.EFD_CLOEXEC)
        self._machine = machine
        self._token = token
        self._reason = ""

    def terminate(self) -> None:
        """Ask it to end."""
        self._machine.say(End(self._token, now=False))

    def kill(self) -> None:
        """End it at once."""
        self._machine.say(End(self._token, now=True))

    def end(self, reason: str) -> None:
        """Note that it has ended."""
        self._reason = reason
        os.eventfd_write(self.fd, 1)

    def ending(self) -> str:
        """How it has ended, for a sentence that begins with it; `fd` is closed."""
        os.close(self.fd)
        return self._reason

    def activity(self) -> tuple[str, int]:
        """Nothing is known but what it reports itself."""
        return "", 0


def _nobody() -> None:
    """Nobody has to be told."""


def no_such_node(name: str, seconds: float) -> RunError:
    """The error where a machine that is needed does not dial in."""
    return RunError(
        f"node {name} has not dialled in within {seconds:.0f} s: start it there, `flowedge node --name {name}`"
    )


def _samples(channel: zenoh.Subscriber[Any]) -> Any:
    """What comes on a channel, until its session is closed."""
    import zenoh

    while True:
        try:
            sample = channel.recv()
        except zenoh.ZError:
            return
        yield sample
        del sample
