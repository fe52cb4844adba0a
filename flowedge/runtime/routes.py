"""The routes of a run: the configurations by which frames go, and how one is changed for another.

Every frame is admitted on one route and keeps to it, so a change is never seen in the middle of a graph: copies
of the operators that change are set up beside those at work, then the next frames of a camera go to them, and
the old copies are released when the last frame of their route has left. Routes have numbers that only grow.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from flowedge.errors import ConfigError
from flowedge.graph.contract import Gather, Operator, Split, State, Step
from flowedge.graph.graph import Graph
from flowedge.graph.nodes import Output
from flowedge.plane.item import Item
from flowedge.planner.model.applications import scalar
from flowedge.planner.model.profiles import Setting
from flowedge.profiling.measure import with_setting
from flowedge.runtime.copies import Copy, Remote
from flowedge.runtime.ledger import Ledger
from flowedge.runtime.runner import Runner
from flowedge.runtime.workers.chain import Answer
from flowedge.values import Scalar

log = logging.getLogger("flowedge.run")


@dataclass(frozen=True)
class Configuration:
    """The value of every knob, and the workers of the operators that do not work in the process of the run."""

    setting: Setting
    workers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


class Routes:
    """Opens, takes and closes the routes of a run. Thread-safe; opening takes as long as operators load."""

    def __init__(
        self,
        graph: Graph,
        runners: Mapping[str, Runner],
        ledger: Ledger,
        host: Callable[[Sequence[Any], Sequence[str], Callable[[Item, Answer], None]], Remote],
    ) -> None:
        self._graph = graph
        self._runners = runners
        self._ledger = ledger
        self._host = host
        self._open: dict[int, Configuration] = {0: Configuration(first_setting(graph))}
        self._last = 0
        self._closing: list[threading.Thread] = []
        self._kept: frozenset[int] = frozenset()
        self._lock = threading.RLock()

    def of(self, camera: str) -> Configuration:
        """How the next frame of a camera goes, once a change that is being made has been made."""
        with self._lock:  # else the route may be closed between the two
            return self._open[self._ledger.route_of(camera)]

    def in_force(self, camera: str) -> tuple[int, Configuration]:
        """The number of a camera's route and how it goes, without waiting for a change that is being made."""
        while True:
            number = self._ledger.route_of(camera)
            known = self._open.get(number)
            if known is not None:  # else it was closed between the two, and the camera has another
                return number, known

    def workers(self, routes: Collection[int]) -> dict[str, tuple[str, ...]]:
        """The workers of the operators that have any, for the frames of these routes."""
        used: dict[str, dict[str, None]] = {}
        for number, known in list(self._open.items()):
            if number in routes:
                for operator, names in known.workers.items():
                    used.setdefault(operator, {}).update(dict.fromkeys(names))
        return {operator: tuple(names) for operator, names in used.items()}

    def switch(self, wanted: Configuration, cameras: Collection[str] | None = None) -> None:
        """Let the next frames of these cameras, or of all and those to come, go by a configuration.

        Returns when every operator is ready and the next frame will go by it. Raises `ConfigError` for a change
        that an operator cannot make while it runs, and what the setup of an operator raises; nothing has
        changed then.
        """
        with self._lock:
            self._ledger.redirect(self._opened(wanted), cameras)

    def keep(self, configurations: Collection[Configuration]) -> None:
        """Keep the routes of these configurations open, and of no other ones, also where no frame goes by them:
        so that one can be gone back to at once."""
        with self._lock:
            self._kept = frozenset(
                number for number, known in self._open.items() if any(known == kept for kept in configurations)
            )

    def checkpoint(self) -> None:
        """Release the operators until `resume`; those stay as they are whose state has no snapshot.

        Called while no frame moves.
        """
        with self._lock:
            for name, runner in self._runners.items():
                step = self._graph.node(name).step
                if changeable(step) and (step.state is State.NONE or step.has_snapshot):
                    runner.checkpoint()

    def resume(self) -> None:
        """Set up again what `checkpoint` released; raises what the setup of an operator raises."""
        with self._lock:
            for number, known in self._open.items():
                chains = chains_of(self._graph, known.workers)
                for name in self._runners:
                    self._prepare(name, number, known, chains)
            for runner in self._runners.values():
                runner.resume()

    def close_unused(self) -> None:
        """Close the routes by which no frame goes or will go; to be called about once a second.

        Operators that are needed no more are closed in a thread of their own: that may take its time.
        """
        if not self._lock.acquire(blocking=False):  # operators are being set up, which may take its time
            return
        try:
            for number in self._open.keys() - self._ledger.routes_in_use() - self._kept:
                del self._open[number]
                self._close(number)
            unused = [(name, gone) for name, runner in self._runners.items() for gone in runner.take_unused()]
            self._closing = [thread for thread in self._closing if thread.is_alive()]
            if unused:
                thread = threading.Thread(
                    target=_close_copies, args=(unused,), name="flowedge-closing", daemon=True
                )
                self._closing.append(thread)
                thread.start()
        finally:
            self._lock.release()

    def wait_closed(self, seconds: float) -> bool:
        """Wait for operators that are being closed, so long at most; whether they are."""
        deadline = time.monotonic() + seconds
        for thread in list(self._closing):
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in self._closing)

    def _opened(self, wanted: Configuration) -> int:
        """The number of the route that has this configuration, opened where there is none."""
        for number, known in self._open.items():
            if known == wanted:
                return number
        self._check(wanted)
        self._last += 1
        try:
            chains = chains_of(self._graph, wanted.workers)
            for name in self._runners:
                self._prepare(name, self._last, wanted, chains)
        except BaseException:
            self._close(self._last)
            raise
        self._open[self._last] = wanted
        return self._last

    def _check(self, wanted: Configuration) -> None:
        first = first_setting(self._graph)
        for node in self._graph.nodes:
            step = node.step
            if not changeable(step) and with_setting(step, wanted.setting) != with_setting(step, first):
                raise ConfigError(f"{node.name}: its setting cannot change while it runs")
            if wanted.workers.get(node.name) and not movable(step):
                raise ConfigError(f"{node.name}: it can work only in the process that reads the cameras")

    def _prepare(
        self, name: str, number: int, wanted: Configuration, chains: Mapping[str, Sequence[str]]
    ) -> None:
        """Have a step ready, on its workers together with the steps that follow it there."""
        runner = self._runners[name]
        step = with_setting(self._graph.node(name).step, wanted.setting)
        if name not in wanted.workers:
            runner.prepare(number, step)
        elif name in chains:
            workers = tuple(wanted.workers[name])
            then = tuple(
                (self._runners[other], with_setting(self._graph.node(other).step, wanted.setting))
                for other in chains[name][1:]
            )
            chain = [step, *(other for _, other in then)]
            runner.prepare(number, step, workers, then, lambda answer: self._host(chain, workers, answer))
        else:
            runner.pass_by(number)

    def _close(self, number: int) -> None:
        for runner in self._runners.values():
            runner.retire(number)


def _close_copies(unused: Sequence[tuple[str, Copy]]) -> None:
    for name, gone in unused:
        try:
            gone.close()
        except Exception as error:
            log.error("%s could not be closed in its former setting: %s", name, error)


def first_setting(graph: Graph) -> Setting:
    """The first value of each knob of a graph, which it has without a plan."""
    choices = {choice.name: choice for node in graph.nodes for choice in node.step.knobs.values()}
    return tuple(sorted((name, scalar(choice.values[0])) for name, choice in choices.items()))


def settings(graph: Graph) -> list[Setting]:
    """Every setting that a running graph can be given; knobs of steps that cannot change keep their first."""
    values: dict[str, list[Scalar]] = {}
    for node in graph.nodes:
        for choice in node.step.knobs.values():
            usable = choice.values if changeable(node.step) else choice.values[:1]
            known = values.get(choice.name)
            here = list(map(scalar, usable))
            values[choice.name] = here if known is None else [value for value in known if value in here]
    names = sorted(values)
    return [
        tuple(zip(names, chosen, strict=True))
        for chosen in itertools.product(*(values[name] for name in names))
    ]


def chains_of(graph: Graph, workers: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """The operators on workers in chains that are run in one go, by the first of each.

    An operator goes on with the one before it where it is the only one that takes what that gives, both work on
    the same workers, and neither keeps state, which would have to be moved by itself.

    >>> from flowedge.operators import Draw, Null, Resize, video
    >>> graph = Graph("tiny")
    >>> video(graph, "street://") >> Resize(640) >> Resize(320, name="Smaller") >> Null()
    >>> chains_of(graph, {"Resize": ("w1",), "Smaller": ("w1",)})
    {'Resize': ['Resize', 'Smaller']}
    """
    chains: dict[str, list[str]] = {}
    for node in graph.nodes:  # one comes after what feeds it
        if node.name not in workers:
            continue
        before = node.input.step if isinstance(node.input, Output) else ""
        follows = (
            before in workers
            and tuple(workers[before]) == tuple(workers[node.name])
            and len(graph.consumers(before)) == 1
            and node.step.state is State.NONE
            and graph.node(before).step.state is State.NONE
        )
        head = next((first for first, chain in chains.items() if follows and chain[-1] == before), node.name)
        chains.setdefault(head, []).append(node.name)
    return chains


def changeable(step: Step) -> bool:
    """Whether the step can get another setting while a graph runs.

    What begins or ends streams, or gives its results later, cannot, nor what remembers several cameras at once.
    """
    return movable(step) or isinstance(step, (Split, Gather))


def movable(step: Step) -> bool:
    """Whether workers can run the step."""
    return isinstance(step, Operator) and not step.delayed and step.state is not State.GLOBAL
