"""The machine on which the workers of a node run: this one, or another that has dialled in."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

from flowedge.plane.topics import open_router
from flowedge.plane.transports.requests import Host
from flowedge.runtime.workers.memory import Carrier, Memory
from flowedge.runtime.workers.process import LocalProcess, Process
from flowedge.runtime.workers.settings import RUN, Settings

if TYPE_CHECKING:
    import zenoh

log = logging.getLogger("flowedge.node")

MEMORY = 256 << 20
"""Bytes: 40 pictures of 1080p. Only what is in use takes memory."""


class Machine(Protocol):
    """Starts processes of workers, and has what is needed to speak to them."""

    prefix: str
    """What the names of its workers begin with: "" for this machine, the name of another and a slash."""

    is_here: bool
    """Whether its processes can be looked at from here."""

    @property
    def is_there(self) -> bool:
        """Whether a process can be started now."""

    @property
    def session(self) -> zenoh.Session:
        """The session in which its workers are spoken to."""

    @property
    def carrier(self) -> Carrier:
        """How values travel to its workers."""

    def post(self, publisher: zenoh.Publisher, data: bytearray) -> None:
        """Have a message for one of its workers put on its topic."""

    def order(self, steps: str) -> Host:
        """The order to host a chain: `steps` as JSON, with the files that its workers need for them."""

    def open(self, changed: Callable[[], None]) -> None:
        """Be ready to launch; `changed` is called whenever `is_there` has changed."""

    def launch(self, token: str) -> Process:
        """Start a worker's process."""

    def close(self) -> None:
        """Release what `open` opened; no process is left by then."""


class ThisMachine:
    """The machine that this process is on: workers are its children and share memory with it.

    `threads`: how many threads the engines of inference of a worker take; None for as many as there are cores.
    `parameters`: those of the command line, which graph files ask for. `memory`: bytes of shared memory that
    values on their way to workers may take at most, and the results of each worker on their way back.
    """

    prefix = ""
    is_here = True
    is_there = True

    def __init__(
        self,
        *,
        threads: int | None = None,
        parameters: Mapping[str, str] | None = None,
        memory: int = MEMORY,
    ) -> None:
        self._threads = threads
        self._parameters = dict(parameters or {})
        self._capacity = memory

    def open(self, changed: Callable[[], None]) -> None:  # noqa: ARG002 - it is always there
        """Open a router at a socket that only this user may enter."""
        self.carrier = Memory(RUN, self._capacity)
        self.session, self.endpoint = open_router(read_only=False)

    def post(self, publisher: zenoh.Publisher, data: bytearray) -> None:
        """Put a message on its topic; it waits while the channel is full."""
        put(publisher, data)

    def order(self, steps: str) -> Host:
        """The order to host a chain; files are where they were."""
        return Host(steps)

    def launch(self, token: str) -> Process:
        """Start a worker's process, in a thread that must outlive it."""
        return LocalProcess(
            Settings(
                token=token,
                endpoint=self.endpoint,
                parent=os.getpid(),
                path=sys.path,
                threads=self._threads,
                parameters=self._parameters,
                memory=self._capacity,
                level=logging.getLogger("flowedge").getEffectiveLevel(),
            )
        )

    def close(self) -> None:
        """Close the router and let go of the memory."""
        self.session.close()  # type: ignore[no-untyped-call]
        self.carrier.close()


def put(publisher: zenoh.Publisher, data: bytearray) -> None:
    """Put a message on a topic; one that cannot be reached any more is passed over."""
    import zenoh

    try:
        publisher.put(data)
    except (zenoh.ZError, RuntimeError) as error:  # withdrawn at this moment: what is owed is settled then
        log.debug("%s: nobody can be reached: %s", publisher.key_expr, error)
