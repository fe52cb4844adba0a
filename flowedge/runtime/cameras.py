"""The cameras of a run: each is opened, fed into the graph by a thread of its own, and ends in every sink."""

from __future__ import annotations

import copy
import logging
import threading
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, fields
from typing import Any

from flowedge.errors import GraphError, RunError, UserError, described
from flowedge.graph.contract import Detached, Source
from flowedge.graph.knobs import suggestion
from flowedge.monitor.report import State
from flowedge.plane.clock import Clock
from flowedge.plane.item import End, Item, first_origin, in_session
from flowedge.plane.taps import Taps
from flowedge.runtime.failures import Failures
from flowedge.runtime.ledger import Ledger
from flowedge.runtime.limits import Limits
from flowedge.runtime.runner import Outlet, closing_failed
from flowedge.values import Packet

log = logging.getLogger("flowedge.run")


@dataclass
class _Camera:
    """A camera that runs, and the sinks that its stream has not ended in.

    `stop` ends what is being read from it now. After that it is attached once more if `again` is set, unless it
    is `ending`. `last` is when its last value came, None before the first; `detached` says why none comes, and
    `attempts` how often that has been said since.
    """

    live: bool
    sinks: set[str]
    stop: threading.Event = field(default_factory=threading.Event)
    ending: bool = False
    again: bool = False
    count: int = 0
    last: float | None = None
    detached: str | None = None
    attempts: int = 0

    def end(self) -> None:
        self.ending = True
        self.stop.set()


class Cameras:
    """Opens, feeds and ends the cameras of a run, on copies of its sources.

    `sinks` names the sinks behind every source. `outlets` are those of all steps, by name. `frames` bounds what
    a camera produces. `check` is called with a camera that is to be added, its source and all cameras by
    source; what it raises prevents it. `on_ended` is called when the last camera that runs has ended in all its
    sinks. A live camera that fails in the graph is attached again, after pauses as `limits` say.
    """

    def __init__(
        self,
        sources: Sequence[Source[Any]],
        sinks: Mapping[str, Sequence[str]],
        outlets: Mapping[str, Outlet],
        *,
        ledger: Ledger,
        taps: Taps,
        failures: Failures,
        frames: int | None,
        limits: Limits,
        clock: Clock,
        check: Callable[[str, str, Mapping[str, Mapping[str, str]]], None],
        on_ended: Callable[[], None],
    ) -> None:
        self._sources = {source.name: copy.deepcopy(source) for source in sources}
        self._sinks = sinks
        self._outlets = outlets
        self._ledger = ledger
        self._taps = taps
        self._failures = failures
        self._frames = frames
        self._limits = limits
        self._clock = clock
        self._check = check
        self._on_ended = on_ended
        self._running: dict[str, _Camera] = {}
        self._next_session: dict[str, int] = {}
        self._readers: list[threading.Thread] = []
        self._ending = self._closed = False
        self._lock = threading.RLock()

    def setup(self) -> None:
        """Prepare the sources; raises what they raise."""
        for source in self._sources.values():
            source.setup()

    def start(self) -> None:
        """Open every camera that the sources have, unless `stop` was called before."""
        with self._lock:
            if self._ending:
                return
            # All are known before one runs: the first to fail is not taken for the last.
            for thread in [
                self._opened(name, camera)
                for name, source in self._sources.items()
                for camera in source.cameras
            ]:
                thread.start()

    def add(self, camera: str, address: str, source: str | None = None) -> None:
        """Open one more camera of a source (the only one, unless it is named).

        Raises `GraphError` where the run is ending, the source does not exist or the name is taken, and
        `ConfigError` for a name or address that the source refuses. Raises what `check` raises.
        """
        with self._lock:
            if self._ending:
                raise GraphError(f'add_camera: "{camera}" comes too late, the run is ending')
            if source is None and len(self._sources) == 1:
                source = next(iter(self._sources))
            if source not in self._sources:
                raise GraphError(
                    f"add_camera: the graph has no source {source!r}{suggestion(str(source), self._sources)}"
                )
            if camera in self._running:
                raise GraphError(f'add_camera: a camera named "{camera}" is running already')
            step = self._sources[source]
            cameras = {**step.cameras, camera: address}
            type(step)(**{**_configuration(step), "cameras": cameras})  # the checks of a new source apply
            self._check(
                camera, source, {name: s.cameras for name, s in self._sources.items()} | {source: cameras}
            )
            step.cameras = cameras
            self._opened(source, camera).start()

    def remove(self, camera: str) -> None:
        """Let one camera end; raises `GraphError` where it does not run."""
        with self._lock:
            if camera not in self._running:
                raise GraphError(f"remove_camera: no camera {camera!r} runs{suggestion(camera, self._running)}")
            self._running[camera].end()
        self._ledger.wake()

    def give_up(self, camera: str) -> None:
        """The graph fails on what the camera gives: attach it again where it is live, else let it end."""
        with self._lock:
            running = self._running.get(camera)
            if running is None or running.ending:
                return
            if running.live:
                running.again = True
                running.stop.set()
            else:
                running.end()
        self._ledger.wake()

    def stop(self) -> bool:
        """Let every camera end, and open no more; whether one still runs."""
        with self._lock:
            self._ending = True
            for name, camera in self._running.items():
                if camera.live and camera.last is None and not camera.ending:
                    self._failures.camera_never_came(name, camera.detached or "")
                camera.end()
            still_running = bool(self._running)
        self._ledger.wake()
        return still_running

    def running(self) -> list[tuple[str, str]]:
        """The cameras that run, each after the name of its source."""
        with self._lock:
            return [
                (name, camera)
                for name, source in self._sources.items()
                for camera in source.cameras
                if camera in self._running
            ]

    def runs(self, camera: str) -> bool:
        """Whether the camera is open and has not ended in every sink."""
        return camera in self._running

    def state(self, camera: str) -> tuple[State, str]:
        """What the camera does, and why, where that is no matter of course."""
        running, error = self._running.get(camera), self._failures.of_camera(camera)
        reason = str(error).removeprefix(f"{camera}: ") if error else ""
        if running is None or (running.ending and not running.live):
            return "ended", reason
        if reason:
            return "failing", reason
        if running.last is None or running.detached:
            state: State = "failing" if running.attempts >= self._limits.attempts else "connecting"
            return state, (running.detached or "").removeprefix(f"{camera}: ")
        silent = self._clock() - running.last
        if running.live and silent > self._limits.stalled_after:
            return "stalled", f"no picture for {silent:.0f} s"
        return ("live" if running.live else "reading"), ""

    def ended(self, sink: str, camera: str) -> None:
        """Note that the camera's stream has come to its end in a sink."""
        with self._lock:
            remaining = self._running[camera].sinks
            remaining.discard(sink)
            if not remaining:
                del self._running[camera]
                self._ledger.close(camera)
                self._taps.close(camera)
            if not self._running:
                self._ending = True
                self._on_ended()

    @property
    def sources(self) -> Sequence[Source[Any]]:
        """The running copies of the sources."""
        return tuple(self._sources.values())

    @property
    def threads(self) -> Sequence[threading.Thread]:
        """The threads that read cameras, those just ended among them."""
        return tuple(self._readers)

    def close(self) -> None:
        """Release the sources, once."""
        if self._closed:
            return
        self._closed = True
        for source in self._sources.values():
            try:
                source.close()
            except Exception as error:
                self._failures.end_run(closing_failed(source.name, error))

    def _opened(self, source: str, camera: str) -> threading.Thread:
        """The thread of a camera that is in the books from now on; the caller starts it."""
        step, sinks = self._sources[source], self._sinks[source]
        live = step.live(camera)
        self._ledger.open(camera, sinks, live=live)
        self._failures.camera_opened(camera)
        self._taps.open(camera, self._outlets)
        running = self._running[camera] = _Camera(live, set(sinks))
        arguments = (step, camera, running)
        thread = threading.Thread(target=self._feed, args=arguments, name=f"flowedge-{camera}", daemon=True)
        self._readers = [reader for reader in self._readers if reader.is_alive() or reader.ident is None]
        self._readers.append(thread)
        return thread

    def _feed(self, source: Source[Any], camera: str, running: _Camera) -> None:
        """The thread of one camera: send off what it gives, as often as it is attached, and then its end."""
        outlet = self._outlets[source.name]
        pause = self._limits.first_retry
        try:
            error = self._read(source, camera, running)
            while running.again:
                if self._failures.of_camera(camera) is None:  # it had become well again
                    pause = self._limits.first_retry
                if error is not None:
                    log.debug("%s: %s", camera, error)
                if not self._pauses(running, pause):
                    return
                pause = min(2 * pause, self._limits.longest_retry)
                error = self._read(source, camera, running)
                # It gave video before, so the error may pass: a camera that boots has no stream yet.
                running.again |= isinstance(error, UserError)
            if error is not None:
                self._failures.camera_failed(camera, error)
        finally:
            self._ledger.wait_while_preempted()  # the end goes to operators that are at work
            outlet.emit(End(camera))

    def _pauses(self, running: _Camera, seconds: float) -> bool:
        """Wait before the camera is attached again; whether it shall be."""
        with self._lock:
            running.stop = threading.Event()
            if running.ending:
                return False
        running.stop.wait(seconds)
        with self._lock:
            running.again, running.stop = False, threading.Event()
            return not running.ending

    def _read(self, source: Source[Any], camera: str, running: _Camera) -> Exception | None:
        """Send off what the camera gives until its end, or until it is stopped; what broke it off."""
        outlet, stop = self._outlets[source.name], running.stop
        try:
            with closing(self._values(source, camera, stop)) as values:
                for value in values:
                    if isinstance(value, Detached):
                        self._note_detached(running, value.reason)
                        continue
                    begins = value.keyframe if isinstance(value, Packet) else True
                    admitted = self._ledger.admit(first_origin(value), stop, begins=begins)
                    running.last, running.detached, running.attempts = self._clock(), None, 0
                    if admitted is not None:
                        outlet.emit(Item(admitted.frame, value, running.live, route=admitted.route))
                    running.count += 1
                    if stop.is_set():
                        break
                    if running.count == self._frames:
                        running.end()
                        break
        except Exception as error:
            return error
        except BaseException as error:  # SystemExit, a panic of a library written in Rust: no good end either
            return RunError(f"{source.name}: {described(error)}")
        return None

    def _note_detached(self, running: _Camera, reason: str) -> None:
        running.detached = reason
        running.attempts += 1
        if running.attempts == self._limits.attempts:
            log.error("%s; %d attempts failed, and further ones follow", reason, running.attempts)

    def _values(self, source: Source[Any], camera: str, stop: threading.Event) -> Generator[Any, None, None]:
        """What the source gives, in sessions that the camera never had in this run.

        A camera that is attached once more counts its frames from 0 again.
        """
        first_session = self._next_session.get(camera, 0)
        with closing(_closable(source.read(camera, stop))) as values:
            for value in values:
                if isinstance(value, Detached):
                    yield value
                    continue
                origin = first_origin(value)
                if origin.camera != camera:
                    raise RunError(f"{source.name} gave a frame of {origin.camera} when asked for {camera}")
                session = first_session + origin.session
                self._next_session[camera] = max(self._next_session.get(camera, 0), session + 1)
                yield in_session(value, session) if first_session else value


def _closable(values: Iterable[Any]) -> Generator[Any, None, None]:
    """The same values; closing this closes what gives them, if it can be closed."""
    yield from values


def _configuration(step: Source[Any]) -> dict[str, Any]:
    return {item.name: getattr(step, item.name) for item in fields(step) if item.init}
