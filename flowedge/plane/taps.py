"""Taps: every operator's output on its Zenoh topic while the graph runs, at no cost while nobody listens."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, Self

from flowedge.plane.item import first_origin
from flowedge.plane.state import StateTopic
from flowedge.plane.topics import announced, open_router, topic
from flowedge.values import Frame
from flowedge.wire.blocks import encode

if TYPE_CHECKING:
    from collections.abc import Callable

    import zenoh

log = logging.getLogger("flowedge.tap")

PICTURES_PER_SECOND = 10
JPEG_QUALITY = 80
VALUES_KEPT = 256
"""Values that may wait to be sent; more are skipped and counted."""


class Tappable(Protocol):
    """An operator's outlet: it calls `tap` with each value while that is set."""

    tap: Callable[[Any], None] | None


class Taps:
    """Publishes what the outlets of a graph give, from a thread of its own that the graph never waits for.

    Pictures go as JPEG, at most ten a second; everything else goes whole. `skipped` counts what listeners did
    not get, by topic. What `state` gives goes on the topic of the graph's state. Use it as a context manager.
    """

    def __init__(self, graph: str, operators: Sequence[str], state: Callable[[], Mapping[str, Any]]) -> None:
        self._graph = graph
        self._state = StateTopic(graph, state)
        self._operators = operators
        self._publishers: dict[tuple[str, str], zenoh.Publisher] = {}
        self._listened: dict[str, set[str]] = {}  # operator -> cameras that somebody listens to
        self._picture_due: dict[str, float] = {}
        self._waiting: deque[tuple[str, str, Any]] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self.skipped: Counter[str] = Counter()
        self._thread = threading.Thread(target=self._send_all, name="flowedge-taps", daemon=True)

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            self._session, self.endpoint = open_router()
            stack.callback(self._session.close)
            stack.callback(self._state.open(self._session).close)
            stack.enter_context(announced(self._graph, self.endpoint, self._operators))
            self._thread.start()
            stack.callback(self._stop_sending)
            self._resources = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._resources.close()

    def open(self, camera: str, outlets: Mapping[str, Tappable]) -> None:
        """Offer the topics of one camera."""
        import zenoh

        for operator, outlet in outlets.items():
            publisher = self._session.declare_publisher(
                topic(self._graph, operator, camera),
                congestion_control=zenoh.CongestionControl.DROP,
                priority=zenoh.Priority.DATA_LOW,
            )
            publisher.declare_matching_listener(self._listener(operator, camera, outlet))
            self._publishers[operator, camera] = publisher

    def close(self, camera: str) -> None:
        """Withdraw the topics of a camera that has ended."""
        for key in [key for key in self._publishers if key[1] == camera]:
            self._publishers.pop(key).undeclare()  # type: ignore[no-untyped-call]

    def _listener(self, operator: str, camera: str, outlet: Tappable) -> Callable[[Any], None]:
        def changed(status: zenoh.MatchingStatus) -> None:
            listened = self._listened.setdefault(operator, set())
            (listened.add if status.matching else listened.discard)(camera)
            outlet.tap = (lambda value: self._offer(operator, value)) if listened else None

        return changed

    def _offer(self, operator: str, value: Any) -> None:
        """Take a value from the graph's thread, or skip it; never blocks."""
        camera = first_origin(value).camera
        if camera not in self._listened[operator]:
            return
        name = topic(self._graph, operator, camera)
        if _shows_picture(value):
            now = time.monotonic()
            if now < self._picture_due.get(name, 0.0):
                return
            self._picture_due[name] = now + 1 / PICTURES_PER_SECOND
        with self._changed:
            if len(self._waiting) >= VALUES_KEPT:
                self.skipped[name] += 1
                return
            self._waiting.append((operator, camera, value))
            self._changed.notify()

    def _send_all(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closed)
                if not self._waiting:
                    return
                operator, camera, value = self._waiting.popleft()
            try:
                if publisher := self._publishers.get((operator, camera)):
                    publisher.put(bytes(encode(value, jpeg=JPEG_QUALITY)))
            except Exception:
                if not self.skipped[topic(self._graph, operator, camera)]:
                    log.exception("%s: a value could not be sent to its listeners", operator)
                self.skipped[topic(self._graph, operator, camera)] += 1

    def _stop_sending(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()


def _shows_picture(value: Any) -> bool:
    if isinstance(value, tuple):
        return any(_shows_picture(half) for half in value)
    return isinstance(value, Frame)
