"""What a run knows of one life of a worker: how to speak to it, and what it has not answered yet."""

from __future__ import annotations

import contextlib
import itertools
import logging
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from flowedge.errors import RunError
from flowedge.plane.topics import heard
from flowedge.plane.transports.requests import (
    Done,
    Envelope,
    Failed,
    Import,
    Order,
    Reply,
    Report,
    Request,
    pack,
)
from flowedge.runtime.workers.chain import to_error
from flowedge.runtime.workers.settings import to_worker
from flowedge.wire.blocks import Message
from flowedge.wire.fields import WireError

if TYPE_CHECKING:
    import zenoh

    from flowedge.runtime.workers.machine import Machine

log = logging.getLogger("flowedge.node")


class WorkerDiedError(RunError):
    """The worker is gone, so what it was told has not been done, or nobody will know."""


class Link:
    """The run's end of the topics of one life of a worker. Thread-safe.

    `receive` is called by the one thread that reads what workers say; replies to requests are handed to the
    handler of their instance in that thread.
    """

    def __init__(self, machine: Machine, name: str, token: str) -> None:
        self.name = name
        self.token = token
        self.alive = True
        self.has_served = False
        self.report: Report | None = None
        self._machine = machine
        self._carrier = machine.carrier
        self._publishers: dict[str, zenoh.Publisher] = {}
        self._handlers: dict[str, Callable[[int, Reply, memoryview], None]] = {}
        self._numbers = itertools.count(1)
        self._requests: set[int] = set()
        self._calls: dict[int, Future[bytes]] = {}
        self._lock = threading.Lock()
        self._matched = self._open("")

    @property
    def reached(self) -> bool:
        """Whether the worker hears what is said to it."""
        return self._matched.is_set()

    @property
    def owes(self) -> bool:
        """Whether something has not been answered."""
        return bool(self._requests or self._calls)

    def host(
        self, instance: str, steps: str, handler: Callable[[int, Reply, memoryview], None]
    ) -> Future[bytes]:
        """Set up an instance of a chain; done when it can be sent requests, or with what its setup raised."""
        import zenoh

        self._handlers[instance] = handler
        ready = Future[bytes]()
        try:
            matched = self._open(instance)
        except zenoh.ZError as error:  # the topic was withdrawn at this moment, with all others of the worker
            ready.set_exception(error if self.alive else WorkerDiedError(f"worker {self.name} died"))
            return ready

        def answered(call: Future[bytes]) -> None:
            try:
                call.result()
                # Its subscription is told of before its answer; what is sent to one that does not hear is lost.
                while not matched.wait(0.01):
                    if not self.alive:
                        raise WorkerDiedError(f"worker {self.name} died")
                ready.set_result(b"")
            except Exception as error:
                ready.set_exception(error)

        self._say("", instance, self._machine.order(steps)).add_done_callback(answered)
        return ready

    def prepare(self, modules: Iterable[str]) -> None:
        """Let the worker import what it may need soon."""
        self._put("", pack(0, "", Import("\n".join(modules))))

    def call(self, instance: str, order: Order, body: bytes = b"") -> Future[bytes]:
        """Tell an instance to do something; the body of its reply, or what that raised as in `host`."""
        return self._say(instance, instance, order, body)

    def send(self, number: int, instance: str, value: Message) -> None:
        """Send a value to an instance, whose reply will have this number.

        Raises `WireError` for a value that has no wire form.
        """
        with self._lock:
            if not self.alive:
                return
            self._requests.add(number)
        try:
            slot, body = self._carrier.laid(value, self.token)
        except WireError:
            with self._lock:
                self._requests.discard(number)
            raise
        self._put(instance, pack(number, instance, Request(slot), body))
        if not self.alive:  # it died meanwhile: its claim on the slot has to be ended once more
            self._carrier.forget(self.token)

    def value(self, reply: Reply, body: memoryview) -> Any:
        """The value in a reply; None where there is none. Raises as `Carrier.value`."""
        return self._carrier.value(reply.slot, body) if reply.slot or body.nbytes else None

    def receive(self, envelope: Envelope) -> None:
        """Take what the worker says of its instances."""
        match envelope.message:
            case Reply() as reply:
                with self._lock:
                    self._requests.discard(envelope.number)
                self.has_served = True
                if handler := self._handlers.get(envelope.instance):
                    handler(envelope.number, reply, envelope.body)
            case Done():
                if call := self._taken(envelope.number):
                    call.set_result(bytes(envelope.body))
            case Failed(failure):
                if call := self._taken(envelope.number):
                    call.set_exception(to_error(failure))

    def lose(self, reason: str) -> None:
        """The worker is gone: nothing more will come."""
        with self._lock:
            self.alive = False
            calls, self._calls = self._calls, {}
            self._requests.clear()
            publishers, self._publishers = self._publishers, {}
        for call in calls.values():
            call.set_exception(WorkerDiedError(f"worker {self.name} {reason}"))
        self._carrier.forget(self.token)
        for publisher in publishers.values():
            _withdraw(publisher)

    def drop(self, instance: str) -> None:
        """Forget an instance that has been retired."""
        self._handlers.pop(instance, None)
        with self._lock:
            publisher = self._publishers.pop(instance, None)
        if publisher is not None:
            _withdraw(publisher)

    def _taken(self, number: int) -> Future[bytes] | None:
        with self._lock:
            return self._calls.pop(number, None)

    def _say(self, topic: str, instance: str, order: Order, body: bytes = b"") -> Future[bytes]:
        number: int = next(self._numbers)
        call: Future[bytes] = Future()
        with self._lock:
            if not self.alive:
                call.set_exception(WorkerDiedError(f"worker {self.name} died"))
                return call
            self._calls[number] = call
        self._put(topic, pack(number, instance, order, body))
        return call

    def _put(self, topic: str, data: bytearray) -> None:
        publisher = self._publishers.get(topic)
        if publisher is not None:
            self._machine.post(publisher, data)

    def _open(self, instance: str) -> threading.Event:
        """Make ready to speak to an instance; an event that is set once it hears."""
        import zenoh

        publisher = self._machine.session.declare_publisher(
            to_worker(self.token, instance),
            congestion_control=zenoh.CongestionControl.BLOCK,
            express=True,
        )
        self._publishers[instance] = publisher
        return heard(publisher)


def _withdraw(publisher: zenoh.Publisher) -> None:
    # Zenoh refuses that while another thread is in `put`: the publisher goes with the last who knows it.
    with contextlib.suppress(RuntimeError):
        publisher.undeclare()  # type: ignore[no-untyped-call]
