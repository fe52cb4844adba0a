"""A graph running on this machine: every operator a thread of this process.

>>> from flowedge import Graph
>>> from flowedge.operators import Null, video
>>> graph = Graph("tiny")
>>> video(graph, "street://?width=160&height=120&seconds=0.4&fps=25") >> Null()
>>> with Run(graph) as run:
...     report = run.wait()
>>> report.cameras["camera"].produced, report.cameras["camera"].delivered
(10, 10)
"""

from __future__ import annotations

import copy
import logging
import resource
import sys
import threading
import time
from collections.abc import Generator
from contextlib import ExitStack, closing
from dataclasses import dataclass, fields
from typing import Any, Self

from flowedge.errors import GraphError, RunError, UserError
from flowedge.graph.contract import Sink, Source
from flowedge.graph.graph import Graph
from flowedge.graph.knobs import suggestion
from flowedge.monitor.histogram import Histogram
from flowedge.monitor.report import CameraReport, CountsReport, OperatorReport, Report
from flowedge.plane.item import End, Item, first_origin
from flowedge.plane.taps import Taps
from flowedge.runtime.ledger import CameraAccount, Counts, Ledger
from flowedge.runtime.runner import Runner
from flowedge.runtime.wiring import Wiring

log = logging.getLogger("flowedge.run")

DRAIN_SECONDS = 10.0
"""How long a stopping run waits for the frames that are in the graph."""

SETUP_SECONDS = 1.0
"""How long a run that is stopped before it began waits for operators that still load: no frame is at stake."""

SWITCH_SECONDS = 0.0005
"""How long a thread may keep the interpreter while others wait: a tenth of Python's default, since a frame
changes threads at every hop."""


class Run:
    """A running graph; use it as a context manager, so that nothing outlives it.

    `frames` bounds what each camera produces. `max_failures` is the share (0..1) of an operator's frames that
    may fail before the run ends. Raises `UserError` where the graph or an operator cannot start.
    """

    def __init__(self, graph: Graph, *, frames: int | None = None, max_failures: float = 0.5) -> None:
        graph.check()
        self.graph = graph
        self.error: Exception | None = None
        self._frames = frames
        self._ledger = Ledger()
        self._taps = Taps(graph.name, [node.name for node in graph.nodes if not isinstance(node.step, Sink)])
        self._wiring = Wiring(
            graph, self._ledger, max_failures=max_failures, on_fatal=self._fail, on_end=self._sink_ended
        )
        steps = [node.step for node in graph.nodes]
        self._sources: dict[str, Source[Any]] = {
            step.name: copy.deepcopy(step) for step in steps if isinstance(step, Source)
        }
        self._sinks = {name: list(graph.sinks_behind(name)) for name in self._sources}
        self._cameras: dict[str, _Camera] = {}
        self._readers: list[threading.Thread] = []
        self._camera_errors: dict[str, Exception] = {}
        self._lock = threading.RLock()
        self._finished = threading.Event()
        self._patience: threading.Timer | None = None
        self._begun = time.monotonic()
        self._cpu_begun = time.process_time()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.callback(sys.setswitchinterval, sys.getswitchinterval())
            sys.setswitchinterval(SWITCH_SECONDS)
            stack.enter_context(self._taps)
            stack.callback(self._shut_down)
            self._start()
            self._resources = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._resources.close()

    def wait(self, timeout: float | None = None) -> Report:
        """Wait until every camera has ended, or `timeout` seconds; the report so far.

        Raises what ended the run before its time.
        """
        self._finished.wait(timeout)
        if self._finished.is_set():
            self._close()
            for runner in self._wiring.runners.values():
                if self.error is None:
                    self._judge(runner)
        if self.error:
            raise self.error
        return self.report()

    @property
    def endpoint(self) -> str:
        """Where a Zenoh client can tap the graph's streams, on this machine only."""
        return self._taps.endpoint

    @property
    def finished(self) -> bool:
        """Whether every camera has ended and every frame is accounted for."""
        return self._finished.is_set()

    def finished_within(self, timeout: float) -> bool:
        """Wait at most `timeout` seconds; whether the run has finished."""
        return self._finished.wait(timeout)

    def stop(self) -> None:
        """Let every camera end; what is in the graph is still delivered, unless that takes too long."""
        with self._lock:
            for camera in self._cameras.values():
                camera.stop.set()
            if not self._cameras:
                self._finished.set()
            elif self._patience is None and not self.finished:
                self._patience = threading.Timer(DRAIN_SECONDS, self._finished.set)
                self._patience.name, self._patience.daemon = "flowedge-patience", True
                self._patience.start()
        self._ledger.wake()

    def abort(self) -> None:
        """End at once: what is in the graph is counted as dropped."""
        self.stop()
        self._finished.set()

    def add_camera(self, name: str, address: str, *, source: str | None = None) -> None:
        """Attach one more camera to a source (the only one, unless it is named) while the graph runs."""
        with self._lock:
            if self._patience or self.finished:
                raise GraphError(f'add_camera: "{name}" comes too late, the run is ending')
            if source is None and len(self._sources) == 1:
                source = next(iter(self._sources))
            if source not in self._sources:
                raise GraphError(
                    f"add_camera: the graph has no source {source!r}{suggestion(str(source), self._sources)}"
                )
            if name in self._cameras:
                raise GraphError(f'add_camera: a camera named "{name}" is running already')
            step = self._sources[source]
            cameras = {**step.cameras, name: address}
            type(step)(**{**_configuration(step), "cameras": cameras})  # the checks of a new source apply
            step.cameras = cameras
            self._open(source, name)

    def remove_camera(self, name: str) -> None:
        """Let one camera end; the others go on."""
        with self._lock:
            if name not in self._cameras:
                raise GraphError(f"remove_camera: no camera {name!r} runs{suggestion(name, self._cameras)}")
            self._cameras[name].stop.set()
        self._ledger.wake()

    def report(self) -> Report:
        """What the run has done so far."""
        accounts = self._ledger.accounts()
        cameras = {name: self._camera_report(name, account) for name, account in accounts.items()}
        firsts = [account.first for account in accounts.values() if account.first]
        lasts = [account.last for account in accounts.values() if account.last]
        busy = max(lasts) - min(firsts) if lasts else 0.0
        delivered = sum(camera.delivered for camera in cameras.values())
        return Report(
            graph=self.graph.name,
            seconds=round(time.monotonic() - self._begun, 3),
            fps=round(delivered / busy, 3) if busy else 0.0,
            latency_ms=Histogram.merged(self._ledger.latency.values()).summary_ms(),
            cpu_seconds=round(time.process_time() - self._cpu_begun, 3),
            peak_rss_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            cameras=cameras,
            operators={name: _operator_report(runner) for name, runner in self._wiring.runners.items()},
            files=tuple(path for sink in self._running_sinks() for path in sink.written()),
            findings=self._findings(),
            error=str(self.error) if self.error else None,
        )

    def _start(self) -> None:
        for runner in self._wiring.runners.values():
            runner.start()
        for source in self._sources.values():
            source.setup()
        for runner in self._wiring.runners.values():
            runner.ready.wait()
        if self.error:
            raise self.error
        with self._lock:
            if self.finished:  # stopped before it began
                return
            self._begun = time.monotonic()
            for name, source in self._sources.items():
                for camera in source.cameras:
                    self._open(name, camera)

    def _open(self, source: str, camera: str) -> None:
        step, sinks = self._sources[source], self._sinks[source]
        live = step.live(camera)
        self._ledger.open(camera, sinks, live=live)
        self._camera_errors.pop(camera, None)
        self._taps.open(camera, self._wiring.outlets)
        stop = threading.Event()
        self._cameras[camera] = _Camera(stop, set(sinks))
        arguments = (source, camera, live, stop)
        thread = threading.Thread(target=self._feed, args=arguments, name=f"flowedge-{camera}", daemon=True)
        self._readers = [reader for reader in self._readers if reader.is_alive()] + [thread]
        thread.start()

    def _feed(self, source: str, camera: str, live: bool, stop: threading.Event) -> None:
        """The thread of one camera: admit each value and send it off."""
        outlet = self._wiring.outlets[source]
        produced = 0
        try:
            with closing(self._values(source, camera, stop)) as values:
                for value in values:
                    origin = first_origin(value)
                    if origin.camera != camera:
                        raise RunError(f"{source} gave a frame of {origin.camera} when asked for {camera}")
                    ticket = self._ledger.admit(origin, live=live, stop=stop)
                    if ticket is not None:
                        outlet.emit(Item(ticket, value))
                    produced += 1
                    if stop.is_set() or produced == self._frames:
                        break
        except Exception as error:
            self._camera_failed(camera, error)
        finally:
            outlet.emit(End(camera))

    def _values(self, source: str, camera: str, stop: threading.Event) -> Generator[Any, None, None]:
        """What the source gives, as something that can be closed."""
        yield from self._sources[source].read(camera, stop)

    def _camera_failed(self, camera: str, error: Exception) -> None:
        if not isinstance(error, UserError):
            log.error("%s failed", camera, exc_info=error)
            error = RunError(f"{camera}: {type(error).__name__}: {error}")
        with self._lock:
            self._camera_errors[camera] = error
            others = self._ledger.accounts().keys() - self._camera_errors.keys()
        if others:
            log.error("%s", error)
        else:
            self._fail(error)

    def _sink_ended(self, sink: str, camera: str) -> None:
        with self._lock:
            remaining = self._cameras[camera].sinks
            remaining.discard(sink)
            if not remaining:
                del self._cameras[camera]
                self._taps.close(camera)
            if not self._cameras:
                self._finished.set()

    def _fail(self, error: Exception) -> None:
        with self._lock:
            if self.error is None:
                self.error = error
        self.stop()

    def _judge(self, runner: Runner) -> None:
        try:
            runner.check_failures()
        except UserError as error:
            self._fail(error)

    def _shut_down(self) -> None:
        try:
            self.stop()
            self._finished.wait(DRAIN_SECONDS)
        finally:
            self._close()

    def _close(self) -> None:
        """Let the threads go, in the order of the graph, and settle what is left."""
        if self._patience:
            self._patience.cancel()
            self._patience.join()
        for runner in self._wiring.runners.values():
            runner.inbox.close()
        ready = all(runner.ready.is_set() for runner in self._wiring.runners.values())
        limit = DRAIN_SECONDS if ready else SETUP_SECONDS
        patience = time.monotonic() + limit
        for thread in (*(runner.thread for runner in self._wiring.runners.values()), *self._readers):
            if thread.ident is None:  # an interrupt came before it was started
                continue
            thread.join(max(0.0, patience - time.monotonic()))
            if thread.is_alive():
                log.error("%s has not stopped after %.0f s and is left behind", thread.name, limit)
        for source in self._sources.values():
            try:
                source.close()
            except Exception:
                log.exception("%s: closing failed", source.name)
        self._sources = {}
        self._ledger.abandon("run stopped")

    def _camera_report(self, name: str, account: CameraAccount) -> CameraReport:
        until = time.monotonic() if name in self._cameras else account.last  # a frozen camera is slow, not fast
        busy = until - account.first if account.first else 0.0
        error = self._camera_errors.get(name)
        return CameraReport(
            **vars(_counts_report(account.total)),
            live=account.live,
            fps=round(account.total.delivered / busy, 3) if busy > 0 else 0.0,
            sinks={sink: _counts_report(counts) for sink, counts in account.sinks.items()},
            error=str(error) if error else None,
        )

    def _running_sinks(self) -> list[Sink[Any]]:
        return [runner.step for runner in self._wiring.runners.values() if isinstance(runner.step, Sink)]

    def _findings(self) -> tuple[str, ...]:
        if not self.finished:
            return ()
        return tuple(line for sink in self._running_sinks() for line in sink.summary())


@dataclass
class _Camera:
    """A camera that runs: how to stop it, and the sinks that its stream has not ended in."""

    stop: threading.Event
    sinks: set[str]


def _counts_report(counts: Counts) -> CountsReport:
    return CountsReport(
        produced=counts.produced,
        delivered=counts.delivered,
        filtered=counts.filtered,
        failed=counts.failed,
        in_flight=counts.in_flight,
        dropped=dict(counts.dropped),
        failures=dict(counts.failures),
    )


def _operator_report(runner: Runner) -> OperatorReport:
    metrics = runner.metrics
    return OperatorReport(
        count=metrics.count,
        failed=metrics.failed,
        partial=metrics.partial,
        service_ms=metrics.service.summary_ms(),
        wait_ms=metrics.wait.summary_ms(),
    )


def _configuration(step: Source[Any]) -> dict[str, Any]:
    return {item.name: getattr(step, item.name) for item in fields(step) if item.init}
