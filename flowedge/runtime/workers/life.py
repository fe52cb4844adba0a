"""One life of a worker: a process from its start to its end, as the node that keeps it sees it."""

from __future__ import annotations

from dataclasses import dataclass

from flowedge.plane.clock import Clock
from flowedge.runtime.workers.link import Link
from flowedge.runtime.workers.process import Process


@dataclass(frozen=True)
class Patience:
    """How long a node waits, in seconds, and how often it tries.

    `stop`: for a worker that is told to stop, before it is killed. `start`: for one that starts to say that it
    is ready. `silence`: for a report of one that owes an answer and uses no processor time; it is taken for
    frozen then. After `deaths` in a row a worker is given up: it had answered nothing in any of these lives,
    and none had lasted for `healthy`. Between them pauses double, the first of `pause`; after the first death
    there is none. `spare`: before the next spare worker is started; a worker that takes up its work at that
    moment needs the processor more.
    """

    stop: float = 6.0
    start: float = 60.0
    silence: float = 5.0
    healthy: float = 10.0
    pause: float = 0.1
    spare: float = 2.0
    deaths: int = 5


class Life:
    """A worker's process from its start to its end. `is_ready`: it can host instances."""

    def __init__(self, link: Link, process: Process, patience: Patience, clock: Clock) -> None:
        self.link = link
        self.is_ready = False
        self._process = process
        self._patience = patience
        self._clock = clock
        self._began = self._heard = clock()
        self._ticks = 0
        self._looks_stopped = 0
        self.kill_at: float | None = None

    @property
    def fd(self) -> int:
        """Becomes readable when the process has ended."""
        return self._process.fd

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def is_healthy(self) -> bool:
        """Whether it has done something, or has lasted: its death is no sign that the next will die as well."""
        lasted = self.is_ready and self._clock() - self._began > self._patience.healthy
        return self.link.has_served or lasted

    def hear(self) -> None:
        """Note that the worker has reported."""
        self._heard = self._clock()

    def stop(self) -> None:
        """Tell it to close its steps and end; it is killed if it has not after a while (`insist`)."""
        if self.kill_at is None:
            self._process.terminate()
            self.kill_at = self._clock() + self._patience.stop

    def insist(self) -> bool:
        """Kill it where it was told to stop and does not; whether that was so."""
        if self.kill_at is None or self.kill_at > self._clock():
            return False
        self.kill()
        self.kill_at = self._clock() + self._patience.stop
        return True

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()

    def ending(self) -> str:
        """How it has ended, for a sentence that begins with it."""
        return self._process.ending()

    def fault(self, *, slept: bool) -> str | None:
        """Why it must be killed, if it is frozen; asked a few times a second.

        `slept`: this process did not run itself for a while, so silence means nothing.
        """
        now = self._clock()
        state, ticks = self._process.activity()
        if slept or ticks != self._ticks:
            self._heard, self._ticks = now, ticks
        self._looks_stopped = self._looks_stopped + 1 if state == "T" else 0
        if self.kill_at is not None:
            return None
        if self._looks_stopped > 1:
            return "is stopped"
        if not self.is_ready and now - self._began > self._patience.start:
            return f"has not started in {self._patience.start:.0f} s"
        if self.is_ready and self.link.owes and now - self._heard > self._patience.silence:
            return f"has not been heard of for {now - self._heard:.0f} s"
        return None
