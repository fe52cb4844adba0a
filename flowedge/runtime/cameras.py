"""The cameras of a run: each is opened, fed into the graph by a thread of its own, and ends in every sink."""

from __future__ import annotations

import copy
import logging
import threading
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, fields
from typing import Any

from flowedge.errors import GraphError, RunError
from flowedge.graph.contract import Source
from flowedge.graph.knobs import suggestion
from flowedge.plane.item import End, Item, first_origin, in_session
from flowedge.plane.taps import Taps
from flowedge.runtime.failures import Failures
from flowedge.runtime.ledger import Ledger
from flowedge.runtime.runner import Outlet

log = logging.getLogger("flowedge.run")


@dataclass
class _Camera:
    """A camera that runs: how to stop it, and the sinks that its stream has not ended in."""

    stop: threading.Event
    sinks: set[str]


class Cameras:
    """Opens, feeds and ends the cameras of a run, on copies of its sources.

    `sinks` names the sinks behind every source. `outlets` are those of all steps, by name. `frames` bounds what
    a camera produces. `on_ended` is called when the last camera that runs has ended in all its sinks.
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
        on_ended: Callable[[], None],
    ) -> None:
        self._sources = {source.name: copy.deepcopy(source) for source in sources}
        self._sinks = sinks
        self._outlets = outlets
        self._ledger = ledger
        self._taps = taps
        self._failures = failures
        self._frames = frames
        self._on_ended = on_ended
        self._running: dict[str, _Camera] = {}
        self._next_session: dict[str, int] = {}
        self._readers: list[threading.Thread] = []
        self._ending = False
        self._lock = threading.RLock()

    def setup(self) -> None:
        """Prepare the sources; raises what they raise."""
        for source in self._sources.values():
            source.setup()

    def start(self) -> None:
        """Open every camera that the sources have, unless `stop` was called before."""
        with self._lock:
            for name, source in self._sources.items():
                for camera in () if self._ending else source.cameras:
                    self._open(name, camera)

    def add(self, camera: str, address: str, source: str | None = None) -> None:
        """Open one more camera of a source (the only one, unless it is named).

        Raises `GraphError` where the run is ending, the source does not exist or the name is taken, and
        `ConfigError` for a name or address that the source refuses.
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
            step.cameras = cameras
            self._open(source, camera)

    def remove(self, camera: str) -> None:
        """Let one camera end; raises `GraphError` where it does not run."""
        with self._lock:
            if camera not in self._running:
                raise GraphError(f"remove_camera: no camera {camera!r} runs{suggestion(camera, self._running)}")
            self._running[camera].stop.set()
        self._ledger.wake()

    def stop(self) -> bool:
        """Let every camera end, and open no more; whether one still runs."""
        with self._lock:
            self._ending = True
            for camera in self._running.values():
                camera.stop.set()
            still_running = bool(self._running)
        self._ledger.wake()
        return still_running

    def runs(self, camera: str) -> bool:
        """Whether the camera is open and has not ended in every sink."""
        return camera in self._running

    def ended(self, sink: str, camera: str) -> None:
        """Note that the camera's stream has come to its end in a sink."""
        with self._lock:
            remaining = self._running[camera].sinks
            remaining.discard(sink)
            if not remaining:
                del self._running[camera]
                self._taps.close(camera)
            if not self._running:
                self._ending = True
                self._on_ended()

    @property
    def threads(self) -> Sequence[threading.Thread]:
        """The threads that read cameras, those just ended among them."""
        return tuple(self._readers)

    def close(self) -> None:
        """Release the sources, once."""
        sources, self._sources = self._sources, {}
        for source in sources.values():
            try:
                source.close()
            except Exception:
                log.exception("%s: closing failed", source.name)

    def _open(self, source: str, camera: str) -> None:
        step, sinks = self._sources[source], self._sinks[source]
        live = step.live(camera)
        self._ledger.open(camera, sinks, live=live)
        self._failures.camera_opened(camera)
        self._taps.open(camera, self._outlets)
        stop = threading.Event()
        self._running[camera] = _Camera(stop, set(sinks))
        arguments = (step, camera, live, stop)
        thread = threading.Thread(target=self._feed, args=arguments, name=f"flowedge-{camera}", daemon=True)
        self._readers = [reader for reader in self._readers if reader.is_alive()] + [thread]
        thread.start()

    def _feed(self, source: Source[Any], camera: str, live: bool, stop: threading.Event) -> None:
        """The thread of one camera: send off what it gives, and then its end."""
        outlet = self._outlets[source.name]
        try:
            with closing(self._values(source, camera, stop)) as values:
                for count, value in enumerate(values, start=1):
                    frame_id = self._ledger.admit(first_origin(value), stop)
                    if frame_id is not None:
                        outlet.emit(Item(frame_id, value, live))
                    if stop.is_set() or count == self._frames:
                        break
        except Exception as error:
            self._failures.camera_failed(camera, error)
        finally:
            outlet.emit(End(camera))

    def _values(self, source: Source[Any], camera: str, stop: threading.Event) -> Generator[Any, None, None]:
        """What the source gives, in sessions that the camera never had in this run.

        A camera that is attached once more counts its frames from 0 again.
        """
        first_session = self._next_session.get(camera, 0)
        with closing(_closable(source.read(camera, stop))) as values:
            for value in values:
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
