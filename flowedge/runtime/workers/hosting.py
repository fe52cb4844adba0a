"""The workers of a run, here and on other machines: there is none before an operator is put on one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flowedge.errors import ConfigError, RunError, UserError
from flowedge.plane.clock import Clock
from flowedge.plane.item import Item
from flowedge.profiling.measure import cores_here
from flowedge.runtime.workers.chain import Answer
from flowedge.runtime.workers.machine import ThisMachine
from flowedge.runtime.workers.network import Network, no_such_node
from flowedge.runtime.workers.node import Node
from flowedge.runtime.workers.replicas import Replicas
from flowedge.runtime.workers.shares import threads_for
from flowedge.runtime.workers.usage import Usage

JOIN_SECONDS = 60.0
"""How long another machine that is needed may take to dial in."""


class Hosting:
    """Puts chains of operators on workers, each of which is started when it is first named.

    The name of a worker on another machine is that of the machine, a slash and something. `shares` are the
    cores that a plan reserves for workers, which are kept to them. `on_error` is told what must end the run
    once a chain works; what prevents it from beginning is raised.
    """

    def __init__(
        self,
        usage: Usage,
        shares: Mapping[str, float],
        on_error: Callable[[UserError], None],
        clock: Clock,
        network: Network | None = None,
    ) -> None:
        self._usage = usage
        self._shares = dict(shares)
        self._on_error = on_error
        self._clock = clock
        self._nodes: dict[str, Node] = {}  # by the name of their machine
        self._network = network
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
            self._start(workers)
            copies = self._starting = Replicas(
                self._node_of, chain, workers, on_answer=on_answer, on_error=end_run, clock=self._clock
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
        for node in self._nodes.values():
            node.close()
        self._nodes.clear()

    def _node_of(self, worker: str) -> Node:
        return self._nodes[machine_of(worker)]

    def _start(self, workers: Sequence[str]) -> None:
        """Have these workers kept, each by the node of its machine."""
        if self.ending:
            raise _ends()
        here = [name for name in workers if not machine_of(name)]
        for name in workers:
            machine = machine_of(name)
            if machine not in self._nodes:
                self._nodes[machine] = self._new_node(machine, len(here))
            if name not in self._nodes[machine].names:
                self._nodes[machine].start(name, self._shares.get(name))

    def _new_node(self, machine: str, workers_here: int) -> Node:
        if not machine:
            node = Node(ThisMachine(threads=self._threads(workers_here)))
        elif self._network is None:
            raise ConfigError(f"{machine}: is another machine; say where it can dial in, with --listen")
        elif not self._network.wait_for(machine, JOIN_SECONDS):
            raise no_such_node(machine, JOIN_SECONDS)
        else:
            node = Node(self._network.machine(machine))
        node.__enter__()
        self._usage.of(node)
        return node

    def _threads(self, workers: int) -> int:
        """For engines: together no more than there are cores, nor in one worker than are reserved for it."""
        if self._shares:
            return threads_for(max(self._shares.values()))
        return max(1, cores_here() // workers)


def machine_of(worker: str) -> str:
    """The name of the machine on which a worker is; "" for this one.

    >>> machine_of("cloud/1"), machine_of("w1")
    ('cloud', '')
    """
    return worker.rpartition("/")[0]


def _ends() -> RunError:
    return RunError("nothing is put on workers any more: the run ends")
