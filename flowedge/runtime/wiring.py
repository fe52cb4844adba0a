"""Joins the runners of a graph: outlets, joins, gates and inboxes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from flowedge.errors import GraphError
from flowedge.graph.contract import Gather, Operator, Sink, Source, Split
from flowedge.graph.graph import Graph
from flowedge.graph.nodes import Both, GraphNode, Half, Output, Pair, Wire
from flowedge.graph.synchronization import Synchronize
from flowedge.plane.clock import Clock
from flowedge.plane.deadline import Deadline
from flowedge.plane.gate import Gate
from flowedge.plane.item import End, Item, Receiver
from flowedge.plane.join import Join
from flowedge.runtime.failures import Failures
from flowedge.runtime.ledger import Ledger
from flowedge.runtime.limits import Limits
from flowedge.runtime.regions import regions
from flowedge.runtime.runner import Outlet, Runner
from flowedge.runtime.steps import (
    DelayedRunner,
    GatherRunner,
    OperatorRunner,
    SinkRunner,
    SplitRunner,
    SynchronizeRunner,
)
from flowedge.values import FrameId


class Wiring:
    """The runners of every step but the sources, and the outlets of all, joined as the graph says.

    `on_end` is called with a sink and a camera when that camera's stream has ended there.
    """

    def __init__(
        self,
        graph: Graph,
        *,
        ledger: Ledger,
        failures: Failures,
        limits: Limits,
        clock: Clock,
        on_end: Callable[[str, str], None],
        deadline: Deadline | None = None,
    ) -> None:
        self._graph = graph
        self._deadline = deadline
        self._ledger = ledger
        self._failures = failures
        self._limits = limits
        self._clock = clock
        self._on_end = on_end
        self._gates: dict[str, tuple[str, Gate]] = {}  # head -> (fork, gate)
        self._leavers: dict[str, list[Gate]] = {}  # exit -> gates
        self._inside: set[str] = set()
        self.outlets: dict[str, Outlet] = {}
        self.runners: dict[str, Runner] = {}
        self._place_gates()
        for node in graph.nodes:
            if isinstance(node.step, Source):
                self.outlets[node.name] = Outlet()
            else:
                runner = self.runners[node.name] = self._runner(node)
                self.outlets[node.name] = runner.outlet
        self._lead_to_gates()
        for node in graph.nodes:
            if node.input is not None:
                self._connect(node.input, self._entrance(node), self._feeds(node.name))

    def _place_gates(self) -> None:
        for region in regions(self._graph):
            heads = [node.name for node in region.heads(self._graph)]
            gate = Gate("+".join(heads), region.depth(self._graph), len(region.exits), self._deadline)
            fork = region.fork(self._graph)
            assert fork is not None
            self._inside |= region.steps
            for head in heads:
                self._gates[head] = (fork, gate)
            for name in region.exits:
                self._leavers.setdefault(name, []).append(gate)

    def _lead_to_gates(self) -> None:
        for gate, fork in {gate: fork for fork, gate in self._gates.values()}.items():
            self.outlets[fork].lead_to(gate.put)

    def _runner(self, node: GraphNode) -> Runner:
        shed = not (node.tiled or node.name in self._inside)
        common: dict[str, Any] = {
            "failures": self._failures,
            "shed": shed,
            "deadline": self._deadline,
            "clock": self._clock,
        }
        match node.step:
            case Synchronize():
                self._check_kind(node.step)
                return SynchronizeRunner(node.step, **common)
            case Operator(delayed=True):
                return DelayedRunner(node.step, ledger=self._ledger, held_back=self._limits.held_back, **common)
            case Operator():
                return OperatorRunner(node.step, **common)
            case Split():
                return SplitRunner(node.step, **common)
            case Gather():
                return GatherRunner(node.step, on_complete=self._left(node.name), **common)
            case Sink():
                return SinkRunner(node.step, ledger=self._ledger, on_end=self._on_end, **common)
        raise TypeError(f"{node.name} is not a step")

    def _check_kind(self, step: Synchronize[Any]) -> None:
        """Raise `GraphError` where one camera is live and the other a file: their times cannot be compared."""
        sources: list[Source[Any]] = [node.step for node in self._graph.sources()]  # type: ignore[misc]
        live = {
            camera: source.live(camera)
            for source in sources
            for camera in step.pair
            if camera in source.cameras
        }
        if len(set(live.values())) > 1:
            (camera, file) = sorted(live, key=lambda name: not live[name])
            raise GraphError(
                f"{step.name}: {camera} is a live camera and {file} is read from a file, so nobody can tell "
                f"which of their frames were taken at the same time"
            )

    def _feeds(self, name: str) -> Mapping[str, Callable[[Receiver], None]]:
        """How a step is fed by every other: from its outlet, or through the gate before a region."""
        feeds: dict[str, Callable[[Receiver], None]] = {
            other: outlet.lead_to for other, outlet in self.outlets.items()
        }
        if name in self._gates:
            fork, gate = self._gates[name]
            feeds[fork] = gate.lead_to
        return feeds

    def _entrance(self, node: GraphNode) -> Receiver:
        """The way into a step's inbox; entering may mean that the frame has left a region."""
        put = self.runners[node.name].inbox.put
        if isinstance(node.step, Gather) or node.name not in self._leavers:
            return put
        left = self._left(node.name)

        def enter(item: Item | End) -> None:
            put(item)
            if isinstance(item, Item):
                left(item.frame)

        return enter

    def _left(self, name: str) -> Callable[[FrameId], None]:
        gates = self._leavers.get(name, [])

        def left(frame: FrameId) -> None:
            for gate in gates:
                gate.done(frame)

        return left

    def _connect(self, wire: Wire, receiver: Receiver, feeds: Mapping[str, Callable[[Receiver], None]]) -> None:
        match wire:
            case Output(step):
                feeds[step](receiver)
            case Half(of, index):
                self._connect(of, _half(receiver, index), feeds)
            case Pair(left, right):
                meeting = Join(receiver)
                self._connect(left, meeting.left, feeds)
                self._connect(right, meeting.right, feeds)
            case Both(left, right):  # cameras tell the sides apart
                for side in dict.fromkeys((left, right)):
                    self._connect(side, receiver, feeds)


def _half(receiver: Receiver, index: int) -> Receiver:
    def receive(item: Item | End) -> None:
        if isinstance(item, Item) and item.is_value:
            item = item.with_value(item.value[index])
        receiver(item)

    return receive
