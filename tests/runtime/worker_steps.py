"""Operators that worker processes find by the name of this module, and do what the value says."""

from __future__ import annotations

import importlib
import itertools
import logging
import os
import signal
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from flowedge import Absent, ConfigError, Event, Operator, Origin, Sink, Source, State, StateError
from flowedge.values import Outcome


def command(index: int, do: str = "pass", *, camera: str = "north", **data: Any) -> Event:
    """A value that tells `Obey` what to do."""
    return Event(Origin(camera, index=index), "command", {"do": do, **data})


@dataclass
class Obey(Operator[Event, Event]):
    """Does what the value says, and gives it with the ids of the processes that it has been in."""

    setup_error: str = ""
    mark: str = ""
    """A file that `close` makes."""

    def setup(self) -> None:
        match self.setup_error:
            case "user":
                raise ConfigError("Obey.setup_error: user is not a good value")
            case "other":
                raise OSError("no such device")
            case "die":
                os._exit(7)

    def close(self) -> None:
        if self.mark:
            Path(self.mark).touch()

    def process(self, value: Event, /) -> Event | None:
        match value.data.get("do"):
            case "raise":
                raise LookupError("not there")
            case "refuse":
                raise ConfigError("Obey.mark: it is not what it should be")
            case "exit":
                raise SystemExit("enough")
            case "filter":
                return None
            case "absent":
                return Absent(value.origin, Outcome.DROPPED, "on purpose", self.name)  # type: ignore[return-value]
            case "wrong":
                return "a text"  # type: ignore[return-value]
            case "die":
                os.kill(os.getpid(), signal.SIGKILL)
            case "log":
                logging.getLogger("tests.worker").warning("%s", value.data["text"])
            case "hang":
                self._hang(Path(str(value.data["begun"])), Path(str(value.data["released"])))
        pids = (*value.data.get("pids", ()), os.getpid())  # type: ignore[misc]
        return Event(value.origin, value.kind, {**value.data, "pids": pids})

    def _hang(self, begun: Path, released: Path) -> None:
        """Say that work has begun, to whoever opens the pipe, and hang; done if that has happened before."""
        if not released.exists():
            begun.write_text(str(os.getpid()))
            while not released.exists():
                time.sleep(0.01)


@dataclass
class Import(Operator[Event, Event]):
    """Its setup imports a module."""

    module: str

    def setup(self) -> None:
        importlib.import_module(self.module)

    def process(self, value: Event, /) -> Event:
        return value


@dataclass
class Pick(Operator[tuple[Event, Event], Event]):
    """Gives the first of a pair."""

    def process(self, value: tuple[Event, Event], /) -> Event:
        return value[0]


@dataclass
class Burn(Operator[Event, Event]):
    """Has Python's global lock for some processor time, and says in which process."""

    seconds: float = 0.01

    def process(self, value: Event, /) -> Event:
        end = time.thread_time() + self.seconds
        while time.thread_time() < end:
            sum(range(100))
        return Event(value.origin, value.kind, {**value.data, self.name: os.getpid()})


@dataclass
class Until(Source[Event]):
    """As many values as are taken until there is such a file."""

    over: str = ""

    def read(self, camera: str, stop: threading.Event) -> Iterator[Event]:
        for index in itertools.count():
            if stop.is_set() or Path(self.over).exists():
                return
            yield command(index, camera=camera)


@dataclass
class Keep(Sink[Event]):
    """Keeps what comes under a key, in this process."""

    key: str = ""
    kept: ClassVar[defaultdict[str, list[Event]]] = defaultdict(list)

    def write(self, value: Event, /) -> None:
        self.kept[self.key].append(value)


@dataclass
class InBatches(Operator[Event, Event]):
    """Gives each value with the number of those that came together; a batch with "raise" in it fails."""

    batch: ClassVar[int] = 4

    def process(self, value: Event, /) -> Event:
        if value.data.get("do") == "hang":
            Obey()._hang(Path(str(value.data["begun"])), Path(str(value.data["released"])))
        return self.process_batch([value])[0]

    def process_batch(self, values: Sequence[Event], /) -> Sequence[Event]:
        if any(value.data.get("do") == "raise" for value in values):
            raise LookupError("not there")
        return [Event(value.origin, value.kind, {"together": len(values)}) for value in values]


@dataclass
class Count(Operator[Event, Event]):
    """Numbers the values of each camera, from 1000 times the epoch on after a loss."""

    state: ClassVar[State] = State.PER_CAMERA

    marks: str = ""
    """A folder in which `snapshot` makes a file named as `Count.mark` says."""

    @staticmethod
    def mark(pid: int, count: int) -> str:
        """The name of the file that says that a process gave this count away."""
        return f"{pid}.{count}"

    def setup(self) -> None:
        self._counts: dict[str, int] = {}
        self._epochs: dict[str, int] = {}

    def snapshot(self, camera: str) -> dict[str, int] | None:
        if camera not in self._counts:
            return None
        if self.marks:
            Path(self.marks, self.mark(os.getpid(), self._counts[camera])).touch()
        return {"count": self._counts[camera]}

    def restore(self, camera: str, state: Any) -> None:
        if "count" not in state:
            raise StateError("a count is needed")
        self._counts[camera] = state["count"]

    def renumber(self, camera: str, epoch: int) -> None:
        self._epochs[camera] = epoch

    def process(self, value: Event, /) -> Event:
        if value.data.get("do") == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        camera = value.origin.camera
        self._counts[camera] = self._counts.get(camera, 0) + 1
        return Event(
            value.origin,
            value.kind,
            {"count": self._counts[camera], "pid": os.getpid(), "epoch": self._epochs.get(camera, 0)},
        )

    def flush(self, camera: str) -> Sequence[Event]:
        self._counts.pop(camera, None)
        return ()


@dataclass
class CountTiles(Count):
    """Numbers the values of each camera, for the tiles that come to this copy."""

    state: ClassVar[State] = State.PER_TILE


@dataclass
class SlowToBegin(Operator[Event, Event]):
    """Its setup on a worker says that it has begun, by making `begun`, and does not come to its end."""

    begun: str = ""

    def setup(self) -> None:
        if self.begun:
            Path(self.begun).touch()
            time.sleep(600)

    def process(self, value: Event, /) -> Event:
        return value
