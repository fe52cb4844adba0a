"""The state of a run on its topic: published about once a second, and only while somebody listens."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Self

from flowedge.plane.topics import RunningGraph, connect, state_topic

if TYPE_CHECKING:
    import zenoh

log = logging.getLogger("flowedge.run")

PERIOD_SECONDS = 1.0

CONNECT_SECONDS = 3.0
"""How long a run may take to let a listener in."""


class StateTopic:
    """Publishes what `state` gives, as JSON, on the topic of a graph, from a thread of its own.

    The first listener gets it at once. Use it as a context manager, while the session is open.
    """

    def __init__(self, graph: str, state: Callable[[], Mapping[str, Any]]) -> None:
        self._topic = state_topic(graph)
        self._state = state
        self._listened = False
        self._closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._publish, name="flowedge-state", daemon=True)

    def open(self, session: zenoh.Session) -> Self:
        """Publish in this session from now on."""
        import zenoh

        self._publisher = session.declare_publisher(
            self._topic, congestion_control=zenoh.CongestionControl.DROP, priority=zenoh.Priority.DATA_LOW
        )
        self._publisher.declare_matching_listener(zenoh.handlers.Callback(self._note, indirect=False))
        self._thread.start()
        return self

    def close(self) -> None:
        """End the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _note(self, status: zenoh.MatchingStatus) -> None:
        with self._changed:
            self._listened = bool(status.matching)
            self._changed.notify()

    def _publish(self) -> None:
        told = False
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._listened or self._closed)
                if self._closed:
                    return
            try:
                self._publisher.put(json.dumps(self._state()))
            except Exception:
                log.log(logging.DEBUG if told else logging.ERROR, "the state cannot be told", exc_info=True)
                told = True
            with self._changed:
                self._changed.wait_for(lambda: self._closed or not self._listened, PERIOD_SECONDS)


class Watched:
    """Listens to the state of a graph that runs on this machine, from a thread of its own until `close`.

    `read` makes something of the JSON, or raises `ValueError`. `newest` is what it made last, None before that,
    and `problem` says in a sentence why nothing comes, or nothing that can be read. An `unreachable` graph is
    not tried again.
    """

    def __init__(self, target: RunningGraph, read: Callable[[Any], Any]) -> None:
        self.target = target
        self.newest: Any = None
        self.problem: str | None = None
        self.unreachable = False
        self._heard = time.monotonic()
        self._read = read
        self._told = threading.Event()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._watch, name=f"flowedge-{target.graph}", daemon=True)
        self._thread.start()

    @property
    def name(self) -> str:
        """The graph and its process, for messages."""
        return f"{self.target.graph} (process {self.target.pid})"

    @property
    def silent_for(self) -> float:
        """Seconds since something came, or since this was made."""
        return time.monotonic() - self._heard

    def wait(self, timeout: float) -> bool:
        """Wait at most so many seconds for the first news, good or bad; whether there are any."""
        return self._told.wait(timeout)

    def close(self) -> None:
        """Listen no longer."""
        self._closed.set()
        self._thread.join()

    def _watch(self) -> None:
        import zenoh

        try:
            with (
                connect(self.target.endpoint, timeout=CONNECT_SECONDS) as session,
                session.declare_subscriber(state_topic(self.target.graph), self._take),
            ):
                self._closed.wait()
        except zenoh.ZError:
            self.problem, self.unreachable = f"{self.name} cannot be reached at {self.target.endpoint}", True
            self._told.set()

    def _take(self, sample: zenoh.Sample) -> None:
        self._heard = time.monotonic()
        try:
            self.newest, self.problem = self._read(json.loads(sample.payload.to_bytes())), None
        except ValueError as error:
            self.problem = f"what {self.name} says cannot be read, it may be another FlowEdge: {error}"
        self._told.set()
