"""A worker: a process that hosts instances of chains of operators and works on what it is sent.

Started by a node as `python -m flowedge.runtime.workers.worker`, with its `Settings` as one line of JSON on its
standard input, so that no secret stands in its arguments. It is a client of the Zenoh router of the run, at a
socket that only the same user can enter:

    flowedge/@/to/<token>               control: host, import
    flowedge/@/to/<token>/<instance>    what one instance is to do, in order: it reads this topic itself
    flowedge/@/from/<token>             replies, reports and log lines

`token` names one life of a worker, so that nothing which was sent to a dead one reaches the next. The process
ends with its parent, whatever ends that, and ignores Ctrl-C: the terminal sends that to all, and the run
decides.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import faulthandler
import importlib
import json
import logging
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from flowedge.errors import UserError
from flowedge.graph.knobs import settings as parameters
from flowedge.graph.serialization import step_from_json
from flowedge.graph.source_files import kept, with_files_in
from flowedge.plane.topics import heard
from flowedge.plane.transports.requests import (
    Done,
    Envelope,
    Failed,
    Flush,
    Gave,
    Host,
    Import,
    Imported,
    LogLine,
    Message,
    Ready,
    Reply,
    Report,
    Request,
    Restore,
    Retire,
    Snapshot,
    pack,
    unpack,
)
from flowedge.runtime.workers.chain import Answer, Chain, pack_states, to_failure, unpack_states
from flowedge.runtime.workers.settings import RUN, Settings, from_worker, to_worker
from flowedge.wire.blocks import Block
from flowedge.wire.fields import WireError

if TYPE_CHECKING:
    import zenoh

log = logging.getLogger("flowedge.worker")

REPORT_SECONDS = 1.0
CLOSE_SECONDS = 5.0
"""How long a worker that is told to stop waits for steps to finish and close."""

CHANNEL = 256
"""Messages that may wait for an instance; the run's own limit of what it sends is far below."""

SWITCH_SECONDS = 0.0005
"""As in the process of the command: how long a thread may keep the interpreter while others wait."""

_IMPORTING = threading.Lock()
"""Held while an instance imports its steps: threads that import modules of one circle see half of one."""

_PR_SET_PDEATHSIG = 1

_SPARE_NICENESS = 10
"""Of a thread that imports what nobody waits for: frames go first."""


class Worker:
    """Hosts instances until `stop` is called."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.carrier = settings.carrier()
        self._session = settings.connect()
        self._instances: dict[str, _Instance] = {}
        self._stop = threading.Event()
        self._refused = 0
        self._imported = set(sys.modules)

    def run(self) -> None:
        """Say that it is ready, work and report until it is stopped."""
        import zenoh

        control = self.subscribe("")
        self._publisher = self._session.declare_publisher(
            from_worker(self.settings.token),
            congestion_control=zenoh.CongestionControl.BLOCK,
            express=True,
        )
        heard(self._publisher).wait()
        logging.getLogger().addHandler(_LogHandler(self))
        threading.Thread(target=self._listen, args=(control,), name="flowedge-control", daemon=True).start()
        self.tell(0, "", Ready())
        while not self._stop.wait(REPORT_SECONDS) and os.getppid() == self.settings.parent:
            self.tell(0, "", self._report())
            self.carrier.trim()
        self._close()

    def stop(self) -> None:
        """Let `run` come to its end."""
        self._stop.set()

    def subscribe(self, instance: str) -> zenoh.Subscriber[Any]:
        """A channel with what is sent to an instance, or ("") to the worker itself."""
        import zenoh

        return self._session.declare_subscriber(
            to_worker(self.settings.token, instance), zenoh.handlers.FifoChannel(CHANNEL)
        )

    def tell(self, number: int, instance: str, message: Message, body: Block | bytes = b"") -> None:
        """Send a message to the run."""
        self._publisher.put(pack(number, instance, message, body))

    def understood(self, sample: zenoh.Sample) -> Envelope | None:
        """What a message says; None, and counted, where it is none."""
        try:
            return unpack(sample.payload.to_bytes())
        except WireError as error:
            self._refused += 1
            log.log(
                logging.WARNING if self._refused == 1 else logging.DEBUG, "a message was refused: %s", error
            )
            return None

    def tell_imported(self) -> None:
        """Say which modules have been imported since this was said last."""
        modules = [name for name in list(sys.modules) if name not in self._imported]
        self._imported.update(modules)
        self.tell(0, "", Imported("\n".join(modules)))

    def retired(self, instance: str) -> None:
        """Forget an instance that has ended."""
        self._instances.pop(instance, None)

    def _listen(self, control: zenoh.Subscriber[Any]) -> None:
        """The thread that takes orders for the worker as a whole."""
        while (sample := _received(control)) is not None:
            envelope = self.understood(sample)
            match envelope and envelope.message:
                case Host() as host:
                    assert envelope is not None
                    instance = _Instance(self, envelope.instance, host, envelope.number)
                    self._instances[envelope.instance] = instance
                    instance.start()
                case Import(modules):
                    threading.Thread(target=self._import, args=(modules.split("\n"),), daemon=True).start()

    def _import(self, modules: Sequence[str]) -> None:
        """Import what can be, until this worker is needed; modules of a user's file come only with that."""
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _SPARE_NICENESS)  # of this thread only
        for name in modules:
            with _IMPORTING, contextlib.suppress(Exception):
                if self._instances:  # their steps may import while they are set up
                    return
                importlib.import_module(name)

    def _report(self) -> Report:
        notes = {
            f"{instance.instance}/{note}": count
            for instance in list(self._instances.values())
            for note, count in instance.notes().items()
        }
        return Report(_cpu_seconds(), _resident(), self._refused, notes)

    def _close(self) -> None:
        """Let every instance finish and close its steps."""
        instances = list(self._instances.values())
        for instance in instances:  # a session hears itself
            self._session.put(
                to_worker(self.settings.token, instance.instance), pack(0, instance.instance, Retire())
            )
        deadline = time.monotonic() + CLOSE_SECONDS
        for instance in instances:
            instance.join(max(0.0, deadline - time.monotonic()))
        self._session.close()  # type: ignore[no-untyped-call]


class _Instance(threading.Thread):
    """One chain in a thread of its own, which reads its orders from its topic."""

    def __init__(self, worker: Worker, name: str, host: Host, number: int) -> None:
        super().__init__(name=f"flowedge-{name}", daemon=True)
        self.instance = name
        self._worker = worker
        self._host = host
        self._number = number
        self._orders = worker.subscribe(name)
        self._chain: Chain | None = None
        self._put_off: Envelope | None = None
        self._has_failed: set[tuple[int, str]] = set()

    def notes(self) -> Mapping[str, int]:
        """What the steps note."""
        try:
            return self._chain.notes() if self._chain else {}
        except Exception:
            log.exception("%s: its notes cannot be had", self.instance)
            return {}

    def run(self) -> None:
        """Set the chain up, obey until the instance is retired, and close it."""
        try:
            self._serve()
        except BaseException:  # the run would wait for its answers for ever: let it see that they do not come
            log.exception("%s broke, and the worker ends", self.instance)
            self._worker.stop()
        finally:
            self._worker.retired(self.instance)
            self._orders.undeclare()  # type: ignore[no-untyped-call]

    def _serve(self) -> None:
        chain, retire = None, 0
        try:
            chain = self._set_up()
        except UserError as error:
            self._tell(self._number, Failed(to_failure(error)))
            return
        self._chain = chain
        self._tell(self._number, Done())
        self._worker.tell_imported()
        while (orders := self._next(chain.batch)) and not isinstance(orders[0].message, Retire):
            self._obey(chain, orders)
            del orders  # what it shows in shared memory is free for others
        if orders:
            retire = orders[0].number
        self._reply(retire, chain.close)

    def _set_up(self) -> Chain:
        with _IMPORTING, parameters(self._worker.settings.parameters):
            data = json.loads(self._host.steps)
            if self._host.files:
                data = with_files_in(data, kept(self._host.files))
            steps: Any = [step_from_json(step) for step in data]
        chain = Chain(steps)
        chain.setup()
        return chain

    def _next(self, most: int) -> list[Envelope]:
        """The next order, or up to `most` requests that wait; an empty list when the run is gone."""
        orders: list[Envelope] = []
        if self._put_off is not None:
            orders, self._put_off = [self._put_off], None
        while len(orders) < most and (not orders or isinstance(orders[0].message, Request)):
            sample = _waiting(self._orders) if orders else _received(self._orders)
            if sample is None:
                break
            order = self._worker.understood(sample)
            if order is None:
                continue
            if orders and not isinstance(order.message, Request):
                self._put_off = order
                break
            orders.append(order)
        return orders

    def _obey(self, chain: Chain, orders: Sequence[Envelope]) -> None:
        match orders[0].message:
            case Request():
                self._work(chain, orders)
            case Flush(camera):
                self._reply(orders[0].number, lambda: self._flush(chain, camera))
            case Snapshot(camera):
                self._reply(orders[0].number, lambda: pack_states(camera, chain.snapshot(camera)))
            case Restore(camera, epoch):
                states = orders[0].body
                self._reply(orders[0].number, lambda: chain.restore(camera, unpack_states(states), epoch))
            case other:
                log.error("%s: cannot do %s", self.instance, type(other).__name__)

    def _work(self, chain: Chain, requests: Sequence[Envelope]) -> None:
        values, numbers = [], []
        for request in requests:
            try:
                values.append(self._value(request))
                numbers.append(request.number)
            except WireError as error:
                log.warning("%s: a value could not be read: %s", self.instance, error)
                self._tell(request.number, Reply(()))
        if values:
            for number, answer in zip(numbers, chain.work(values), strict=True):
                self._answer(number, answer)

    def _value(self, request: Envelope) -> Any:
        assert isinstance(request.message, Request)
        return self._worker.carrier.value(request.message.slot, request.body)

    def _answer(self, number: int, answer: Answer) -> None:
        result = answer.result
        if isinstance(result, Exception):
            self._tell(number, Reply(answer.services, failure=self._failure(result, len(answer.services))))
        elif result is None:
            self._tell(number, Reply(answer.services))
        else:
            try:
                slot, body = self._worker.carrier.laid(result, RUN)
            except WireError as error:  # the run ends: it says which step gives what cannot leave a worker
                services = (*answer.services[:-1], answer.services[-1]._replace(gave=Gave.FAILED))
                self._tell(number, Reply(services, failure=to_failure(error, with_traceback=False)))
                return
            self._tell(number, Reply(answer.services, slot), body)

    def _failure(self, error: Exception, step: int) -> Any:
        """The error as data; its traceback once for each step and kind, as only the first is shown."""
        key = step, type(error).__name__
        first = key not in self._has_failed and len(self._has_failed) < CHANNEL
        self._has_failed.add(key)
        return to_failure(error, with_traceback=first)

    def _flush(self, chain: Chain, camera: str) -> None:
        for step, count in chain.flush(camera).items():
            log.error(
                "%s: flush gave %d values at the end of %s, discarded: only a delayed operator has any",
                step, count, camera,
            )  # fmt: skip

    def _reply(self, number: int, work: Callable[[], bytes | None]) -> None:
        """Do what was ordered and say how it went, with what it gave."""
        try:
            given = work()
        except UserError as error:
            self._tell(number, Failed(to_failure(error)))
        else:
            self._tell(number, Done(), given or b"")

    def _tell(self, number: int, message: Message, body: Block | bytes = b"") -> None:
        self._worker.tell(number, self.instance, message, body)


class _LogHandler(logging.Handler):
    """Sends what is logged to the run, which shows it."""

    def __init__(self, worker: Worker) -> None:
        super().__init__()
        self._worker = worker

    def emit(self, record: logging.LogRecord) -> None:
        try:
            trace = logging.Formatter().formatException(record.exc_info) if record.exc_info else ""
            line = LogLine(record.name, record.levelno, record.getMessage()[:10_000], trace[-10_000:])
            self._worker.tell(0, "", line)
        except Exception:
            self.handleError(record)


def _received(channel: zenoh.Subscriber[Any]) -> zenoh.Sample | None:
    """The next message, waited for; None when the session has been closed."""
    import zenoh

    try:
        sample: zenoh.Sample = channel.recv()
    except zenoh.ZError:
        return None
    return sample


def _waiting(channel: zenoh.Subscriber[Any]) -> zenoh.Sample | None:
    """The next message, if one is there."""
    import zenoh

    try:
        sample: zenoh.Sample | None = channel.try_recv()
    except zenoh.ZError:
        return None
    return sample


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _resident() -> int:
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize()


def _end_with(parent: int) -> None:
    """Have the kernel kill this process when the thread that started it is gone."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it was gone before
        os._exit(1)


def main() -> None:
    """Entry point of the process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
    settings = Settings.from_json(sys.stdin.readline())
    _end_with(settings.parent)
    faulthandler.enable()
    sys.path[:] = settings.path
    sys.setswitchinterval(SWITCH_SECONDS)
    logging.getLogger().setLevel(settings.level)
    if settings.threads is not None:
        from flowedge.inference import engines

        engines.limit_threads(settings.threads)
    worker = Worker(settings)
    signal.signal(signal.SIGTERM, lambda *_: worker.stop())
    worker.run()
    logging.shutdown()
    # Threads of Zenoh, and of steps that hang, would abort an interpreter that is being taken apart.
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
