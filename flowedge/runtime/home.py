"""The process of one graph where a command runs several: reads its cameras, and does as it is told.

It is started by `homes` with a socket as standard input. Orders come there, and news go back, as JSON in a line
each: see `Order` and `News`. Where nobody is at the other end any more, the run ends.
"""

from __future__ import annotations

import faulthandler
import json
import logging
import os
import queue
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, TypeAlias

from flowedge.errors import UserError
from flowedge.monitor.plain import from_plain
from flowedge.monitor.report import Report
from flowedge.runtime.demand import Demand, DemandMeter
from flowedge.runtime.workers.worker import SWITCH_SECONDS

log = logging.getLogger("flowedge.run")

TICK_SECONDS = 0.1
NEWS_SECONDS = 0.5
DEMAND_SECONDS = 1.0

Wish: TypeAlias = Literal["preempt", "resume", "stop", "abort"]


@dataclass(frozen=True)
class HomeSettings:
    """What a graph's process is to run: a graph file with the values of its parameters, as `Run` takes it."""

    path: str
    given: Mapping[str, str] = field(default_factory=dict)
    frames: int | None = None
    max_failures: float = 0.5
    fixed: bool = False
    strategy: str = "flowedge"
    debug: bool = False


@dataclass(frozen=True)
class Order:
    """What the run is to do now, and why, for its report."""

    wish: Wish
    reason: str = ""


@dataclass(frozen=True)
class News:
    """What has happened.

    The graph is at work at its `endpoint`, or again (`resumed`); a `line` for the log with its `level`; the
    `report` so far; what was wanted lately (`demand`); or what ended the run (`error`).
    """

    endpoint: str | None = None
    resumed: bool = False
    level: int = 0
    line: str | None = None
    report: Report | None = None
    demand: Demand | None = None
    error: str | None = None


class _Channel:
    """The socket to the command. Thread-safe."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._lock = threading.Lock()

    def tell(self, news: News) -> None:
        """Send news; nobody may be there to read them."""
        report = None if news.report is None else news.report.as_json()
        data = json.dumps({**asdict(replace(news, report=None)), "report": report}).encode() + b"\n"
        with self._lock, suppress(OSError):
            self._connection.sendall(data)

    def orders(self) -> Iterator[Order]:
        """What is asked for, as it comes, until the other end is closed."""
        with suppress(OSError), self._connection.makefile("r") as lines:
            for line in lines:
                yield from_plain(Order, json.loads(line))


class _Lines(logging.Handler):
    """Sends what is logged to the command, whose terminal it is."""

    def __init__(self, channel: _Channel) -> None:
        super().__init__()
        self._channel = channel

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._channel.tell(News(level=record.levelno, line=self.format(record)))
        except Exception:
            self.handleError(record)


class _Interrupt:
    """SIGTERM: while operators load, nobody looks at orders; later it asks the run to end, and then at once."""

    def __init__(self) -> None:
        self.caught = 0
        self.run: Any = None

    def __call__(self, *_: object) -> None:
        self.caught += 1
        if self.run is None:
            raise KeyboardInterrupt
        if self.caught == 1:
            self.run.stop()
        else:
            self.run.abort()


def serve(settings: HomeSettings, channel: _Channel, interrupt: _Interrupt) -> bool:
    """Run the graph until it ends; whether nothing went wrong."""
    from flowedge.graph.loading import load
    from flowedge.runtime.controller.adapting import adapting
    from flowedge.runtime.run import Run

    loaded, _ = load(settings.path, settings.given)
    run = Run(loaded, frames=settings.frames, max_failures=settings.max_failures)
    changes: queue.SimpleQueue[Order] = queue.SimpleQueue()
    listener = threading.Thread(target=_listen, args=(channel, changes), name="flowedge-orders", daemon=True)
    try:
        listener.start()
        with run:
            interrupt.run = run
            channel.tell(News(endpoint=run.endpoint))
            with adapting(run, fixed=settings.fixed, strategy=settings.strategy):
                _follow(run, channel, changes)
            if not interrupt.caught:
                run.wait()
    except KeyboardInterrupt:
        log.info("stopped before it began")
    finally:
        report = run.report()
        channel.tell(News(report=report))
    return not any(camera.error for camera in report.cameras.values())


def _listen(channel: _Channel, changes: queue.SimpleQueue[Order]) -> None:
    """Take orders; the end of the run does not wait for a change that is being made."""
    main = threading.main_thread().ident
    assert main is not None
    for order in channel.orders():
        if order.wish in ("stop", "abort"):
            signal.pthread_kill(main, signal.SIGTERM)
        else:
            changes.put(order)
    signal.pthread_kill(main, signal.SIGTERM)


def _follow(run: Any, channel: _Channel, changes: queue.SimpleQueue[Order]) -> None:
    """Do as is asked, and tell how it goes, until the run has finished."""
    meter = DemandMeter(run)
    news = demand = time.monotonic()
    while not run.finished_within(TICK_SECONDS):
        with suppress(queue.Empty):
            while True:
                order = changes.get_nowait()
                if order.wish == "preempt":
                    run.preempt(order.reason)
                else:
                    run.resume(order.reason)
                    meter.look()
                    channel.tell(News(resumed=True))
        now = time.monotonic()
        if now - demand >= DEMAND_SECONDS:
            demand = now
            channel.tell(News(demand=meter.look()))
        if now - news >= NEWS_SECONDS:
            news = now
            channel.tell(News(report=run.report()))


@contextmanager
def _errors_told(channel: _Channel, debug: bool) -> Iterator[None]:
    """Tell what ends the run: a user's mistake in a sentence, anything else with a traceback."""
    try:
        yield
    except KeyboardInterrupt:
        log.info("stopped before it began")
    except UserError as error:
        if debug:
            log.error("%s", traceback.format_exc())
        channel.tell(News(error=str(error)))
        sys.exit(1)
    except Exception as error:
        log.exception("the run was broken off")
        channel.tell(News(error=f"{type(error).__name__}: {error}"))
        sys.exit(1)


def main() -> None:
    """Entry point of the process."""
    interrupt = _Interrupt()
    for number in (signal.SIGINT, signal.SIGHUP):  # the command has them too, and says what is to be done
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, interrupt)
    connection = socket.socket(fileno=os.dup(0))
    with open(os.devnull) as nothing:  # what this process starts must not hold the other end
        os.dup2(nothing.fileno(), 0)
    faulthandler.enable(sys.stderr)
    channel = _Channel(connection)
    logging.basicConfig(format="%(message)s", level=logging.INFO, handlers=[_Lines(channel)])
    sys.setswitchinterval(SWITCH_SECONDS)  # the process is ours, which an embedded run could not say
    settings = from_plain(HomeSettings, json.loads(_first_line(connection)))
    with _errors_told(channel, settings.debug):
        sys.exit(0 if serve(settings, channel, interrupt) else 1)


def _first_line(connection: socket.socket) -> bytes:
    """What comes before the first end of a line, and nothing that comes after it."""
    data = b""
    while not data.endswith(b"\n"):
        piece = connection.recv(1)
        if not piece:
            sys.exit(1)
        data += piece
    return data


if __name__ == "__main__":
    main()
