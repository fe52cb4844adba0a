"""A node keeps the workers of this machine: starts them, notices when one is gone or frozen, has it back.

Processes are started by the node's own thread, which lives as long as the node: the kernel kills a worker when
the thread that started it is gone, so that nothing outlives the run, whatever ends it.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, Self

import flowedge
from flowedge.errors import RunError
from flowedge.plane.clock import Clock
from flowedge.plane.topics import open_router
from flowedge.plane.transports.requests import Envelope, LogLine, Ready, Report, unpack
from flowedge.runtime.link import Link
from flowedge.runtime.memory import Memory
from flowedge.runtime.worker import RUN, Settings, from_worker
from flowedge.wire.fields import WireError

if TYPE_CHECKING:
    import zenoh

log = logging.getLogger("flowedge.node")

CHANNEL = 4096
"""Messages of workers that may wait to be read; what is sent to them is limited far below."""

TICK_SECONDS = 0.25

MEMORY = 256 << 20
"""Bytes: 40 pictures of 1080p. Only what is in use takes memory."""


@dataclass(frozen=True)
class Patience:
    """How long a node waits, in seconds, and how often it tries.

    `stop`: for a worker that is told to stop, before it is killed. `start`: for one that starts to say that it
    is ready. `silence`: for a report of one that owes an answer and uses no processor time; it is taken for
    frozen then. After `deaths` in a row a worker is given up: it had answered nothing in any of these lives,
    and none had lasted for `healthy`. Between them pauses double, the first of `pause`; after the first death
    there is none.
    """

    stop: float = 6.0
    start: float = 60.0
    silence: float = 5.0
    healthy: float = 10.0
    pause: float = 0.1
    deaths: int = 5


class Usage(NamedTuple):
    """What a worker has used: CPU seconds in this life, resident bytes."""

    cpu_seconds: float
    memory: int


class Owner(Protocol):
    """Who puts instances on workers; called in threads of the node, so it must not wait there."""

    def worker_up(self, link: Link) -> None:
        """A worker, new or back, can host instances."""

    def worker_down(self, link: Link, reason: str) -> None:
        """A worker has died, and its instances with it; it will come back."""

    def worker_lost(self, name: str, error: RunError) -> None:
        """A worker will not come back."""


@dataclass
class _Worker:
    """A worker that is to be kept."""

    name: str
    life: int = 0
    process: subprocess.Popen[bytes] | None = None
    pidfd: int = -1
    link: Link | None = None
    is_ready: bool = False
    is_up: bool = False
    is_wanted: bool = True
    error: RunError | None = None
    due: float | None = 0.0  # when to start it; None while it runs, or for good
    began: float = 0.0
    kill_at: float | None = None
    deaths_in_a_row: int = 0
    looks_stopped: int = 0
    heard: float = 0.0  # when it last reported or used the processor
    ticks: int = 0
    owners: list[Owner] = field(default_factory=list)
    gone: threading.Event = field(default_factory=threading.Event)


class Node:
    """Keeps workers by name, from `start` to `stop`. Use it as a context manager.

    `threads`: how many threads the engines of inference of a worker take; None for as many as there are cores.
    `parameters`: those of the command line, which graph files ask for. `memory`: bytes of shared memory that
    values on their way to workers may take at most, and the results of each worker on their way back. `deaths`
    counts, by worker, and `sent_again` the frames that had to be worked on elsewhere for that.
    """

    def __init__(
        self,
        *,
        threads: int | None = None,
        parameters: Mapping[str, str] | None = None,
        memory: int = MEMORY,
        patience: Patience | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        self._threads = threads
        self._parameters = dict(parameters or {})
        self._capacity = memory
        self._patience = patience or Patience()
        self._clock = clock
        self._workers: dict[str, _Worker] = {}
        self._by_token: dict[str, _Worker] = {}
        self._lock = threading.RLock()
        self._tokens = itertools.count(1)
        self._closing = False
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

        self.memory = Memory(RUN, self._capacity)
        self._session, self.endpoint = open_router(read_only=False)
        self._answers: zenoh.Subscriber[Any] = self._session.declare_subscriber(
            from_worker("*"), zenoh.handlers.FifoChannel(CHANNEL)
        )
        self._poll.register(self._wake, select.POLLIN)
        self._keeper.start()
        self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self, name: str) -> None:
        """Keep a worker of this name from now on; it is there a moment later, and its owners are told."""
        with self._lock:
            if name in self._workers:
                raise ValueError(f"worker {name} is kept already")
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

    def own(self, name: str, owner: Owner) -> None:
        """Tell `owner` what becomes of a worker from now on, and at once that it is up or lost if it is."""
        with self._lock:
            worker = self._workers[name]
            worker.owners.append(owner)
            link, error = worker.link if worker.is_up else None, worker.error
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
        process = self._workers[name].process
        return process.pid if process else None

    def usage(self, name: str) -> Usage | None:
        """What a worker said last that it has used; None before it has."""
        link = self._workers[name].link
        report = link.report if link else None
        return Usage(report.cpu_seconds, report.memory) if report else None

    def notes(self, name: str) -> Mapping[str, int]:
        """What steps of a worker note, under "instance/step/note", as of its last report."""
        link = self._workers[name].link
        report = link.report if link else None
        return (report.notes if report else None) or {}

    def close(self) -> None:
        """End all workers and what the node has opened."""
        with self._lock:
            self._closing = True
            for worker in self._workers.values():
                worker.is_wanted = False
        self._ring()
        self._keeper.join()
        self._session.close()  # type: ignore[no-untyped-call]
        self._reader.join()
        self.memory.close()
        os.close(self._wake)

    def _ring(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.eventfd_write(self._wake, 1)

    # --- the thread that keeps the processes --------------------------------------------------------------

    def _keep(self) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])  # a child has it before it can ignore it
        while True:
            with self._lock:
                workers = list(self._workers.values())
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
                    self._bury(next(worker for worker in workers if worker.pidfd == fd))

    def _until_next(self, workers: list[_Worker]) -> float:
        times = [time for worker in workers for time in (worker.due, worker.kill_at) if time is not None]
        return max(0.0, min(TICK_SECONDS, *(time - self._clock() for time in times), TICK_SECONDS))

    def _drive(self, worker: _Worker) -> None:
        """Bring a worker to where it shall be."""
        now = self._clock()
        if worker.process is None:
            if not worker.is_wanted:
                worker.gone.set()
            elif worker.due is not None and worker.due <= now:
                self._spawn(worker)
        elif not worker.is_wanted and worker.kill_at is None:
            worker.process.terminate()
            worker.kill_at = now + self._patience.stop
        elif worker.kill_at is not None and worker.kill_at <= now:
            log.warning("worker %s does not stop and is killed", worker.name)
            worker.process.kill()
            worker.kill_at = now + self._patience.stop

    def _spawn(self, worker: _Worker) -> None:
        token = f"{worker.name}.{next(self._tokens)}"
        link = Link(self._session, self.memory, worker.name, token)
        settings = Settings(
            name=worker.name,
            token=token,
            endpoint=self.endpoint,
            parent=os.getpid(),
            path=sys.path,
            threads=self._threads,
            parameters=self._parameters,
            memory=self._capacity,
            level=logging.getLogger("flowedge").getEffectiveLevel(),
        )
        process = subprocess.Popen(
            [sys.executable, "-m", "flowedge.runtime.worker"], stdin=subprocess.PIPE, env=self._environment()
        )
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError), process.stdin:  # it may be dead already: it is buried then
            process.stdin.write(f"{settings.to_json()}\n".encode())
        with self._lock:
            worker.process, worker.link, worker.due = process, link, None
            worker.life += 1
            worker.is_ready = worker.is_up = False
            worker.began = worker.heard = self._clock()
            worker.looks_stopped = worker.ticks = 0
            self._by_token[token] = worker
        worker.pidfd = os.pidfd_open(process.pid)
        self._poll.register(worker.pidfd, select.POLLIN)

    def _environment(self) -> dict[str, str]:
        root = str(Path(flowedge.__file__).parent.parent)
        environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
        }
        if self._threads is not None:
            count = str(self._threads)
            environment |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), count)
            environment["OPENCV_FOR_THREADS_NUM"] = count
        return environment

    def _bury(self, worker: _Worker) -> None:
        """A process has ended: tell its owners, and start it again where it is wanted."""
        process, link = worker.process, worker.link
        assert process is not None
        assert link is not None
        reason = _ending(process.wait())
        self._poll.unregister(worker.pidfd)
        os.close(worker.pidfd)
        now = self._clock()
        with self._lock:
            was_up, wanted = worker.is_up, worker.is_wanted
            healthy = link.has_served or (was_up and now - worker.began > self._patience.healthy)
            worker.process, worker.pidfd, worker.kill_at = None, -1, None
            worker.is_ready = worker.is_up = False
            del self._by_token[link.token]
            owners = tuple(worker.owners)
            if not wanted:
                worker.error = RunError(f"worker {worker.name} has been stopped")
            else:
                self.deaths[worker.name] += 1
                worker.deaths_in_a_row = 1 if healthy else worker.deaths_in_a_row + 1
                pauses = worker.deaths_in_a_row - 2
                worker.due = now + (self._patience.pause * 2**pauses if pauses >= 0 else 0.0)
                if worker.deaths_in_a_row >= self._patience.deaths:
                    worker.due = None
                    times = f"{worker.deaths_in_a_row} times in a row"
                    worker.error = RunError(f"worker {worker.name} died {times}, the last time it {reason}")
        if wanted:
            log.warning("worker %s (process %d) %s", worker.name, process.pid, reason)
        link.lose(reason)
        for owner in owners:
            if was_up:
                _told(owner.worker_down, link, reason)
            if worker.error is not None:
                _told(owner.worker_lost, worker.name, worker.error)

    def _look(self, workers: list[_Worker]) -> None:
        """Kill what is frozen: it will be buried, and started again."""
        now = self._clock()
        if now - self._last_look < TICK_SECONDS:
            return
        slept = now - self._last_look > 4 * TICK_SECONDS  # this process itself was stopped, say
        self._last_look = now
        self.memory.pool.trim()
        for worker in workers:
            if worker.process is None or worker.kill_at is not None:
                continue
            state, ticks = _state_of(worker.process.pid)
            if slept or ticks != worker.ticks:
                worker.heard, worker.ticks = now, ticks
            worker.looks_stopped = worker.looks_stopped + 1 if state == "T" else 0
            if worker.looks_stopped > 1:
                self._kill(worker, "is stopped")
            elif worker.is_up and worker.link and worker.link.owes:
                if now - worker.heard > self._patience.silence:
                    self._kill(worker, f"has not been heard of for {now - worker.heard:.0f} s")
            elif not worker.is_up and now - worker.began > self._patience.start:
                self._kill(worker, f"has not started in {self._patience.start:.0f} s")

    def _kill(self, worker: _Worker, why: str) -> None:
        assert worker.process is not None
        log.warning("worker %s (process %d) %s and is killed", worker.name, worker.process.pid, why)
        worker.process.kill()

    # --- the thread that reads what workers say -----------------------------------------------------------

    def _read(self) -> None:
        import zenoh

        while True:
            try:
                sample = self._answers.recv()
            except zenoh.ZError:  # the session has been closed
                return
            token = str(sample.key_expr).rpartition("/")[2]
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
        worker = self._by_token.get(token)
        link = worker.link if worker else None
        if worker is None or link is None:
            return  # it has died since
        match envelope.message:
            case Ready():
                self._is_ready(worker, link)
            case Report() as report:
                link.report, worker.heard = report, self._clock()
            case LogLine() as line:
                _show(worker.name, line)
            case _:
                link.receive(envelope)

    def _is_ready(self, worker: _Worker, link: Link) -> None:
        while not link.reached and link.alive:  # its subscriptions are told of before anything that it says
            time.sleep(0.001)
        with self._lock:
            worker.is_ready = worker.is_up = True
            owners = tuple(worker.owners)
        for owner in owners:
            owner.worker_up(link)


def _told(tell: Any, *arguments: Any) -> None:
    try:
        tell(*arguments)
    except Exception:
        log.exception("the owner of a worker could not be told")


def _show(worker: str, line: LogLine) -> None:
    logger = logging.getLogger(line.logger)
    if not logger.isEnabledFor(line.level):
        return
    record = logger.makeRecord(line.logger, line.level, "", 0, "worker %s: %s", (worker, line.text), None)
    record.exc_text = line.traceback or None
    logger.handle(record)


def _ending(status: int) -> str:
    """How a process has ended, for a sentence that begins with it."""
    if status >= 0:
        return f"ended with status {status}"
    try:
        return f"was killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"was killed by signal {-status}"


def _state_of(pid: int) -> tuple[str, int]:
    """The state of a process as the kernel has it, and the ticks of processor time that it has used."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:  # it has just ended
        return "", 0
    fields = stat.rpartition(")")[2].split()
    return fields[0], int(fields[11]) + int(fields[12])
