"""The workers of a run on this machine: there is none before an operator is put on one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

from flowedge.errors import RunError, UserError
from flowedge.plane.clock import Clock
from flowedge.plane.item import Item
from flowedge.profiling.measure import cores_here
from flowedge.runtime.chain import Answer
from flowedge.runtime.machine import ThisMachine
from flowedge.runtime.node import Node
from flowedge.runtime.replicas import Replicas
from flowedge.runtime.usage import Usage


class Hosting:
    """Puts chains of operators on workers, each of which is started when it is first named.

    `on_error` is told what must end the run once a chain works; what prevents it from beginning is raised.
    """

    def __init__(self, usage: Usage, on_error: Callable[[UserError], None], clock: Clock) -> None:
        self._usage = usage
        self._on_error = on_error
        self._clock = clock
        self._node: Node | None = None
        self._starting: Replicas | None = None
        self.ending = False
        """Whether nothing more begins."""
        self._lock = threading.RLock()  # a handler of signals may stop the run while its thread is in here

    def host(
        self, chain: Sequence[Any], workers: Sequence[str], on_answer: Callable[[Item, Answer], None]
    ) -> Replicas:
        """The copies of a chain, when they are ready. One thread at a time may call this."""
        begun = threading.Event()

        def end_run(error: UserError) -> None:
            if begun.is_set():  # else the plan is not carried out, and the run goes on as it is
                self._on_error(error)

        with self._lock:
            node = self._node_for(workers)
            copies = self._starting = Replicas(
                node, chain, workers, on_answer=on_answer, on_error=end_run, clock=self._clock
            )
        try:
            copies.start()
        except BaseException:
            copies.close(at_once=True)
            raise
        finally:
            self._starting = None
        begun.set()
        return copies

    def abandon(self) -> None:
        """Begin nothing more: the run ends. Copies that are being started are given up."""
        with self._lock:
            self.ending = True
            if self._starting is not None:
                self._starting.give_up(_ends())

    def close(self) -> None:
        """End all workers."""
        self.abandon()
        if self._node is not None:
            self._node.close()
            self._node = None

    def _node_for(self, workers: Sequence[str]) -> Node:
        if self.ending:
            raise _ends()
        if self._node is None:
            threads = max(1, cores_here() // len(workers))  # for engines: together no more than there are cores
            self._node = Node(ThisMachine(threads=threads)).__enter__()
            self._usage.of(self._node)
        for name in workers:
            if name not in self._node.names:
                self._node.start(name)
        return self._node


def _ends() -> RunError:
    return RunError("nothing is put on workers any more: the run ends")
