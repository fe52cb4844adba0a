"""A node keeps the workers of one machine: starts them, notices when one is gone or frozen, has it back.

Processes are started by the node's own thread, which lives as long as the node: the kernel kills a worker when
the thread that started it is gone, so that nothing outlives the run, whatever ends it. Beside the workers that
are wanted a spare one is kept ready, which imports what the others have imported: a worker that has died, or
one more that is wanted, is there in milliseconds. Measured, of processor time: 0.5 s until a worker is ready,
and as much again for each of the modules of the operators, OpenVINO with OpenCV, and SciPy.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import select
import signal
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, Self

from flowedge.errors import RunError
from flowedge.plane.clock import Clock
from flowedge.plane.transports.requests import Envelope, Imported, LogLine, Ready, Report, unpack
from flowedge.runtime.workers.life import Life, Patience
from flowedge.runtime.workers.link import Link
from flowedge.runtime.workers.machine import Machine, ThisMachine
from flowedge.runtime.workers.settings import from_worker
from flowedge.runtime.workers.shares import Share, Shares
from flowedge.wire.fields import WireError

if TYPE_CHECKING:
    import zenoh

log = logging.getLogger("flowedge.node")

CHANNEL = 4096
"""Messages of workers that may wait to be read; what is sent to them is limited far below."""

TICK_SECONDS = 0.25

SPARE = "spare"


class Usage(NamedTuple):
    """What a worker has used: CPU seconds in this life, resident bytes."""

    cpu_seconds: float
    memory: int


class Owner(Protocol):
    """Who puts instances on workers; called in threads of the node, so it must not wait there."""

    def worker_up(self, link: Link) -> None:
        """A worker, new or back, can host instances."""

    def worker_down(self, link: Link, reason: str) -> None:
        """A worker has died, and its instances with it; it will come back unless it is lost, too."""

    def worker_lost(self, name: str, error: RunError) -> None:
        """A worker will not come back: it died too often, or was stopped."""


@dataclass
class _Worker:
    """A worker that is to be kept; `due`: when to start it, None while it lives and when it is lost."""

    name: str
    life: Life | None = None
    is_wanted: bool = True
    due: float | None = 0.0
    deaths_in_a_row: int = 0
    error: RunError | None = None
    owners: list[Owner] = field(default_factory=list)
    gone: threading.Event = field(default_factory=threading.Event)


class Node:
    """Keeps workers by name on a machine, from `start` to `stop`. Use it as a context manager.

    Names of workers begin with the machine's `prefix`.

    `deaths` counts by worker, `sent_again` the frames that others had to work on for that, `refused` the
    messages that were none by the life of the worker.
    """

    def __init__(
        self,
        machine: Machine | None = None,
        *,
        patience: Patience | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        self.machine = machine or ThisMachine()
        self._patience = patience or Patience()
        self._clock = clock
        self._shares = Shares()
        self._workers: dict[str, _Worker] = {}
        self._spare = _Worker(f"{self.machine.prefix}{SPARE}", due=None)
        self._by_token: dict[str, _Worker] = {}
        self._lock = threading.RLock()
        self._tokens = itertools.count(1)
        self._modules: dict[str, None] = {}  # that workers have imported, in that order
        self._closing = self._is_over = False
        self._last_look = clock()
        self._poll = select.poll()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._keeper = threading.Thread(target=self._keep, name="flowedge-node", daemon=True)
        self._reader = threading.Thread(target=self._read, name="flowedge-answers", daemon=True)
        self.deaths: Counter[str] = Counter()
        self.sent_again: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()

    def __enter__(self) -> Self:
        import zenoh

        self.machine.open(self._ring)
        self._answers: zenoh.Subscriber[Any] = self.machine.session.declare_subscriber(
            from_worker(f"{self.machine.prefix}*"), zenoh.handlers.FifoChannel(CHANNEL)
        )
        self._poll.register(self._wake, select.POLLIN)
        self._keeper.start()
        self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self, name: str, cores: float | None = None) -> None:
        """Keep a worker of this name from now on; its owners are told when it is there.

        Once it is up it is kept to a share of so many `cores`; `share` says how.
        """
        with self._lock:
            if name in self._workers:
                raise ValueError(f"worker {name} is kept already")
            if cores is not None and self.machine.is_here:  # processes elsewhere are out of reach
                self._shares.reserve(name, cores)
            self._workers[name] = _Worker(name)
        self._ring()

    def stop(self, name: str) -> None:
        """Let a worker close its steps and end; returns when it is gone."""
        with self._lock:
            worker = self._workers[name]
            worker.is_wanted = False
        self._ring()
        worker.gone.wait()
        with self._lock:
            self._workers.pop(name, None)
        self._shares.release(name)

    def own(self, name: str, owner: Owner) -> None:
        """Tell `owner` what becomes of a worker from now on, and at once that it is up or lost if it is."""
        with self._lock:
            worker = self._workers[name]
            worker.owners.append(owner)
            life, error = worker.life, worker.error
            link = life.link if life and life.is_ready else None
        if link is not None:
            owner.worker_up(link)
        if error is not None:
            owner.worker_lost(name, error)

    def disown(self, name: str, owner: Owner) -> None:
        """Tell `owner` no more."""
        with self._lock:
            worker = self._workers.get(name)
            if worker is not None and owner in worker.owners:
                worker.owners.remove(owner)

    @property
    def names(self) -> tuple[str, ...]:
        """The workers that are kept."""
        return tuple(self._workers)

    def pid(self, name: str) -> int | None:
        """The process id of a worker; None while it has none."""
        life = self._workers[name].life
        return life.pid if life else None

    def share(self, name: str) -> Share | None:
        """The share of cores to which a worker is kept, and how; None where it has none."""
        return self._shares.of(name)

    def usage(self, name: str) -> Usage | None:
        """What a worker said last that it has used; None before it has."""
        report = self._report(name)
        return Usage(report.cpu_seconds, report.memory) if report else None

    def notes(self, name: str) -> Mapping[str, int]:
        """What steps of a worker note, under "instance/step/note", as of its last report."""
        report = self._report(name)
        return (report.notes if report else None) or {}

    def close(self) -> None:
        """End all workers and what the node has opened."""
        with self._lock:
            self._closing = True
            for worker in self._everybody():
                worker.is_wanted = False
        self._ring()
        self._keeper.join()
        # A subscription cannot be withdrawn while a thread waits for it: let it have one more message.
        self._is_over = True
        self.machine.session.put(from_worker(f"{self.machine.prefix}{SPARE}"), b"")
        self._reader.join()
        self.machine.close()
        for name in self.names:
            self._shares.release(name)
        os.close(self._wake)

    def _report(self, name: str) -> Report | None:
        life = self._workers[name].life
        return life.link.report if life else None

    def _everybody(self) -> list[_Worker]:
        return [*self._workers.values(), self._spare]

    def _ring(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.eventfd_write(self._wake, 1)

    # --- the thread that keeps the processes --------------------------------------------------------------

    def _keep(self) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])  # a child has it before it can ignore it
        while True:
            with self._lock:
                workers = self._everybody()
                closing = self._closing
            for worker in workers:
                self._drive(worker)
            if closing and all(worker.gone.is_set() for worker in workers):
                return
            self._look(workers)
            for fd, _ in self._poll.poll(1000 * self._until_next(workers)):
                if fd == self._wake:
                    os.eventfd_read(self._wake)
                else:
                    self._bury(fd)

    def _until_next(self, workers: list[_Worker]) -> float:
        """Seconds until something has to be done."""
        times = [worker.life.kill_at for worker in workers if worker.life]
        if self.machine.is_there:
            times += [worker.due for worker in workers]
        return max(0.0, min([TICK_SECONDS, *(time - self._clock() for time in times if time is not None)]))

    def _drive(self, worker: _Worker) -> None:
        """Bring a worker to where it shall be."""
        if worker.life is None:
            if not worker.is_wanted:
                worker.gone.set()
            elif worker.due is not None and worker.due <= self._clock() and self.machine.is_there:
                self._begin(worker)
        elif not worker.is_wanted:
            worker.life.stop()
            if worker.life.insist():
                log.warning("worker %s does not stop and is killed", worker.name)

    def _begin(self, worker: _Worker) -> None:
        """Give a worker its life: that of the spare, if that is ready, or a new one."""
        with self._lock:
            spare = self._spare.life
            takes = worker is not self._spare and spare is not None and spare.is_ready
            if takes and spare is not None:
                spare.link.name = worker.name
                worker.life, self._spare.life = spare, None
                self._by_token[spare.link.token] = worker
                self._spare.due = self._clock() + self._patience.spare
            owners = tuple(worker.owners)
        worker.due = None
        if not takes:
            self._spawn(worker)
            return
        assert worker.life is not None
        self._shares.keep(worker.name, worker.life.pid)
        for owner in owners:
            _told(owner.worker_up, worker.life.link)

    def _spawn(self, worker: _Worker) -> None:
        machine = self.machine
        token = f"{worker.name}.{next(self._tokens)}"
        link = Link(machine, worker.name, token)
        with self._lock:  # it may say that it is ready before this thread goes on
            self._by_token[token] = worker
            life = worker.life = Life(link, machine.launch(token), self._patience, self._clock)
        self._poll.register(life.fd, select.POLLIN)

    def _bury(self, fd: int) -> None:
        """A process has ended: tell its owners, and start it again where it is wanted."""
        worker, life = next(
            (worker, life) for worker in self._everybody() if (life := worker.life) and life.fd == fd
        )
        self._poll.unregister(life.fd)
        reason, link = life.ending(), life.link
        with self._lock:
            wanted, was_ready, healthy = worker.is_wanted, life.is_ready, life.is_healthy
            worker.life = None
            del self._by_token[link.token]
            owners = tuple(worker.owners)
            if wanted:
                self._count_death(worker, reason, healthy=healthy)
            else:
                worker.error = RunError(f"worker {worker.name} has been stopped")
        if wanted:
            log.warning("worker %s (process %d) %s", worker.name, life.pid, reason)
        link.lose(reason)
        for owner in owners:
            if was_ready:
                _told(owner.worker_down, link, reason)
            if worker.error is not None:
                _told(owner.worker_lost, worker.name, worker.error)

    def _count_death(self, worker: _Worker, reason: str, *, healthy: bool) -> None:
        """Say when a worker that has died shall live again, if at all."""
        self.deaths[worker.name] += 1
        worker.deaths_in_a_row = 1 if healthy else worker.deaths_in_a_row + 1
        pauses = worker.deaths_in_a_row - 2
        worker.due = self._clock() + (self._patience.pause * 2**pauses if pauses >= 0 else 0.0)
        if worker.deaths_in_a_row >= self._patience.deaths:
            worker.due = None
            times = f"{worker.deaths_in_a_row} times in a row"
            worker.error = RunError(f"worker {worker.name} died {times}, the last time it {reason}")

    def _look(self, workers: list[_Worker]) -> None:
        """Kill what is frozen: it will be buried, and started again."""
        passed = self._clock() - self._last_look
        if passed < TICK_SECONDS:
            return
        self._last_look += passed
        self.machine.carrier.trim()
        for worker in workers:
            life = worker.life
            fault = life.fault(slept=passed > 4 * TICK_SECONDS) if life else None
            if life is not None and fault is not None:
                log.warning("worker %s (process %d) %s and is killed", worker.name, life.pid, fault)
                life.kill()

    # --- the thread that reads what workers say -----------------------------------------------------------

    def _read(self) -> None:
        import zenoh

        while True:
            try:
                sample = self._answers.recv()
            except zenoh.ZError:  # the session has been closed
                return
            if self._is_over:
                return
            token = str(sample.key_expr).removeprefix(from_worker(""))
            try:
                self._receive(token, unpack(sample.payload.to_bytes()))
            except WireError as error:
                self.refused[token] += 1
                level = logging.WARNING if self.refused[token] == 1 else logging.DEBUG
                log.log(level, "a message of worker %s was refused: %s", token, error)
            except Exception:
                log.exception("what worker %s said could not be dealt with", token)
            del sample

    def _receive(self, token: str, envelope: Envelope) -> None:
        with self._lock:
            worker = self._by_token.get(token)
            life = worker.life if worker else None
        if worker is None or life is None or life.link.token != token:
            return  # it has died since
        match envelope.message:
            case Ready():
                self._is_ready(worker, life)
            case Report() as report:
                life.link.report = report
                life.hear()
            case LogLine() as line:
                _show(worker.name, line)
            case Imported(modules):
                self._remember(modules.split("\n"))
            case _:
                life.link.receive(envelope)

    def _is_ready(self, worker: _Worker, life: Life) -> None:
        while not life.link.reached and life.link.alive:  # its subscription is told of before its first word
            time.sleep(0.001)
        with self._lock:
            life.is_ready = True
            owners = tuple(worker.owners)
            self._shares.keep(worker.name, life.pid)  # from now on: it is there sooner with all that is idle
            if self._spare.life is None and self._spare.due is None and not self._spare.error:
                self._spare.due = self._clock() + self._patience.spare
                self._ring()
        if worker is self._spare:
            life.link.prepare(self._modules)
        for owner in owners:
            owner.worker_up(life.link)

    def _remember(self, modules: Sequence[str]) -> None:
        """Let the spare worker, and those to come, import what another one has."""
        new = [name for name in modules if name not in self._modules]
        self._modules |= dict.fromkeys(new)
        with self._lock:
            spare = self._spare.life
        if new and spare is not None and spare.is_ready:
            spare.link.prepare(new)


def _told(tell: Any, *arguments: Any) -> None:
    try:
        tell(*arguments)
    except Exception:
        log.exception("the owner of a worker could not be told")


def _show(worker: str, line: LogLine) -> None:
    """Log what a worker has logged."""
    logger = logging.getLogger(line.logger)
    if not logger.isEnabledFor(line.level):
        return
    record = logger.makeRecord(line.logger, line.level, "", 0, "worker %s: %s", (worker, line.text), None)
    record.exc_text = line.traceback or None
    logger.handle(record)
