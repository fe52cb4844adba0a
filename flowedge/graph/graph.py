"""A graph: a named application of operators joined by typed streams, as plain data.

`Stream` and `Parts` are handles that exist while the graph is declared; what stays is a tuple of `GraphNode`s.

>>> from flowedge import Graph
>>> from flowedge.operators import Null, Resize, video
>>> graph = Graph("tiny")
>>> video(graph, "street://") >> Resize(320) >> Null()
>>> [node.name for node in graph.nodes]
['video', 'Decode', 'Resize', 'Null']
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Generic, TypeVar, get_args, get_origin, overload

from flowedge.errors import ConfigError, GraphError
from flowedge.graph import render
from flowedge.graph.contract import NAME, Gather, Operator, Sink, Source, Split, State, Step, valid_name
from flowedge.graph.knobs import suggestion
from flowedge.graph.nodes import Both, GraphNode, Half, Output, Pair, Wire, described
from flowedge.graph.signature import Type, applied, fits, readable, signature
from flowedge.graph.synchronization import Synchronize, seconds
from flowedge.graph.topology import Topology
from flowedge.secrets import redact

A = TypeVar("A")
B = TypeVar("B")
U = TypeVar("U")
V = TypeVar("V", covariant=True)


@dataclass(frozen=True)
class Goal:
    """What the graph is to reach: `latency` like "250 ms", `accuracy` 0..1, `throughput` in frames a second.

    `minimize` names what the planner saves within these bounds: "energy", "resources", "cost", or "utility",
    which makes the sum over cameras of a - theta T as large as it can, where a is the accuracy (0..1) and T the
    latency in seconds (CONTINUUM, equation 5). `theta`, in 1/s, is thus the accuracy that a second of latency
    is worth; at the default of 0.1 a model may be 100 ms slower if it is right one time in a hundred more.
    `pins` says in which tier of the cluster an operator must run, e.g. `pins={"Draw": "edge"}`.
    """

    latency: str | None = None
    throughput: float | None = None
    accuracy: float | None = None
    minimize: str = "energy"
    pins: Mapping[str, str] = field(default_factory=dict, hash=False)
    theta: float = 0.1

    def __post_init__(self) -> None:
        if self.latency is not None and not re.fullmatch(r"\d+(\.\d+)? ?(us|ms|s|min)", str(self.latency)):
            raise ConfigError(f'Goal.latency: {self.latency!r} is not a time like "250 ms"')
        if self.throughput is not None and not (_is_number(self.throughput) and self.throughput > 0):
            raise ConfigError(
                f"Goal.throughput: {self.throughput!r} is not a number of frames per second above 0"
            )
        if self.accuracy is not None and not (_is_number(self.accuracy) and 0 <= self.accuracy <= 1):
            raise ConfigError(f"Goal.accuracy: {self.accuracy!r} is not a number from 0 to 1")
        if self.minimize not in ("energy", "resources", "cost", "utility"):
            raise ConfigError(
                f'Goal.minimize: {self.minimize!r} is not "energy", "resources", "cost" or "utility"'
            )
        if not (_is_number(self.theta) and 0 <= self.theta < float("inf")):
            raise ConfigError(f"Goal.theta: {self.theta!r} is not a number from 0, in 1/s")
        if not (isinstance(self.pins, Mapping) and all(map(_is_name, (*self.pins, *self.pins.values())))):
            wanted = 'a mapping of operators to tiers like {"Draw": "edge"}'
            raise ConfigError(f"Goal.pins: {self.pins!r} is not {wanted}")
        object.__setattr__(self, "pins", dict(self.pins))  # the caller's mapping may change


class Stream(Generic[V]):
    """A handle on the values of a wire, one a frame."""

    def __init__(self, graph: Graph, wire: Wire) -> None:
        self.graph, self.wire = graph, wire

    @overload
    def __rshift__(self, step: Operator[V, U]) -> Stream[U]: ...
    @overload
    def __rshift__(self, step: Split[V, U]) -> Parts[U]: ...
    @overload
    def __rshift__(self, step: Sink[V]) -> None: ...
    def __rshift__(self, step: Any) -> Any:
        """Feed a step with this stream."""
        if isinstance(step, Gather):
            raise GraphError(
                f"{step.name} gathers the parts of a split, but {described(self.wire)} was not split: "
                f"put a Split such as Slice() before it"
            )
        self.graph._add(step, self.wire, tiled=False)
        if isinstance(step, Sink):
            return None
        handle = Parts if isinstance(step, Split) else Stream
        return handle(self.graph, Output(step.name))


class Parts(Generic[V]):
    """A handle on the values of a wire, several a frame, between a `Split` and its `Gather`."""

    def __init__(self, graph: Graph, wire: Wire) -> None:
        self.graph, self.wire = graph, wire

    @overload
    def __rshift__(self, step: Operator[V, U]) -> Parts[U]: ...
    @overload
    def __rshift__(self, step: Gather[V, U]) -> Stream[U]: ...
    def __rshift__(self, step: Any) -> Any:
        """Feed a step with each part."""
        if isinstance(step, (Sink, Split)):
            raise GraphError(
                f"{step.name} takes whole frames, but {described(self.wire)} gives the parts of a split: "
                f"put a Gather such as NonMaxMerge() between them"
            )
        if isinstance(step, Operator) and step.state is State.PER_CAMERA:
            raise GraphError(
                f"{step.name} keeps state per camera, but {described(self.wire)} gives the parts of a split: "
                f"put it before the split or after the gather"
            )
        if isinstance(step, Operator) and step.delayed:
            raise GraphError(f"{step.name} gives its results later, frame by frame: put it before the split")
        self.graph._add(step, self.wire, tiled=True)
        handle = Stream if isinstance(step, Gather) else Parts
        return handle(self.graph, Output(step.name))


@dataclass(eq=False)
class Graph(Topology):
    """A named application: operators joined by typed streams, and its goal."""

    name: str
    goal: Goal = field(default_factory=Goal)
    nodes: tuple[GraphNode, ...] = field(default=(), init=False)

    def __post_init__(self) -> None:
        if not valid_name(self.name):
            raise ConfigError(f"Graph.name: {self.name!r} is not {NAME}")

    def __eq__(self, other: object) -> bool:
        mine = (self.name, self.goal, self.nodes)
        return isinstance(other, Graph) and mine == (other.name, other.goal, other.nodes)

    def __hash__(self) -> int:
        # Not of the nodes: a graph in a set must be found again when it has grown. Equal graphs hash alike.
        return hash((self.name, self.goal))

    def __str__(self) -> str:
        usual = asdict(Goal())
        goals = {k: v for k, v in asdict(self.goal).items() if k == "minimize" or v != usual[k]}
        pins = [f"{name} in {tier}" for name, tier in goals.pop("pins", {}).items()]
        goal = ", ".join([*(f"{name} {value}" for name, value in goals.items()), *pins])
        return f"{self.name}: {goal}\n{render.columns(self)}"

    def source(self, step: Source[U]) -> Stream[U]:
        """Begin a stream at a source; raises `GraphError` for what is none."""
        if not isinstance(step, Source):
            address = isinstance(step, str)
            mend = f"video(graph, {redact(repr(step))})" if address else "stream >> step"
            raise GraphError(f"graph.source({redact(repr(step))}): not a source; write {mend}")
        taken = {camera for node in self.sources() for camera in node.step.cameras}  # type: ignore[attr-defined]
        for camera in step.cameras:
            if camera in taken:
                raise GraphError(
                    f'{step.name}: a camera named "{camera}" is in the graph already; '
                    f'name cameras with a mapping, e.g. {{"north": url}}'
                )
        self._add(step, None, tiled=False)
        return Stream(self, Output(step.name))

    def check(self) -> None:
        """Raise `GraphError` unless the graph can run.

        Every stream ends in a sink, no two sinks write one file, knobs of one name agree and pins can hold.
        Raises `ConfigError` where a setting by camera names one that does not come there.
        """
        if not self.nodes:
            raise GraphError(f"the graph {self.name} is empty: begin with video(graph, url)")
        for node in self.nodes:
            if isinstance(node.step, Sink) or self.consumers(node.name):
                continue
            if (node.tiled or isinstance(node.step, Split)) and not isinstance(node.step, Gather):
                mend = "add a Gather such as NonMaxMerge()"
                raise GraphError(f"{node.name} leaves a split ungathered: {mend}")
            raise GraphError(f"{node.name} gives a stream that has no sink: add one, e.g. >> Null()")
        self._check_outputs()
        self._check_knobs()
        self._check_pins()
        for node in self.nodes:
            if cameras := self._cameras_before(node):
                node.step.check_cameras(cameras)

    def check_camera(self, camera: str, source: str, cameras: Mapping[str, Mapping[str, str]]) -> None:
        """Raise `GraphError` or `ConfigError` where the graph cannot run with one more camera of a source.

        `cameras` are those of all sources by the source's name, this one among them.
        """
        grown = Graph(self.name, self.goal)
        for node in self.nodes:
            step = copy(node.step)
            if isinstance(step, Source):
                step.cameras = cameras[node.name]
            grown.nodes = (*grown.nodes, replace(node, step=step))
        grown._check_outputs()
        for name in grown.downstream(source):
            grown.node(name).step.check_camera(camera)

    def _cameras_before(self, node: GraphNode) -> list[str]:
        """All cameras whose frames come to a step, those of pairs among them; none if they are added later."""
        sources = self.upstream(node.name)
        return [camera for source in self.sources() if source.name in sources for camera in source.step.cameras]  # type: ignore[attr-defined]

    def _check_outputs(self) -> None:
        """A sink's lock on its file would show this only once both have begun, and while both have it open."""
        writers: dict[str, str] = {}
        for node in self.nodes:
            if not isinstance(node.step, Sink) or node.step.path_field is None or node.input is None:
                continue
            node.step.check_outputs(self.cameras_of(node.input))
            pattern = getattr(node.step, node.step.path_field)
            sources: list[Any] = [self.node(name).step for name in self.sources_of(node.input)]
            cameras = [camera for source in sources for camera in source.cameras]
            for path in dict.fromkeys(pattern.replace("{camera}", camera) for camera in cameras):
                if path == "-" or path.startswith("/dev/"):
                    continue
                other = writers.setdefault(os.path.realpath(path), node.name)
                if other != node.name:
                    raise GraphError(
                        f'{other} and {node.name} would both write "{path}": give one of them another '
                        f"{node.step.path_field}"
                    )

    def _check_knobs(self) -> None:
        seen: dict[str, tuple[str, tuple[Any, ...]]] = {}
        for node in self.nodes:
            for choice in node.step.knobs.values():
                owner, values = seen.setdefault(choice.name, (node.name, choice.values))
                if values != choice.values:
                    raise GraphError(
                        f'the knob "{choice.name}" has the values {values} in {owner} but {choice.values} in '
                        f"{node.name}: give both the same values or different names"
                    )

    def _check_pins(self) -> None:
        steps = {node.name: node.step for node in self.nodes}
        for name in self.goal.pins:
            if name not in steps:
                raise GraphError(f"Goal.pins: there is no operator {name!r}{suggestion(name, steps)}")
            if isinstance(steps[name], Source):
                raise GraphError(f"Goal.pins: {name} is a source and runs where its cameras are: leave it out")

    def _add(self, step: Step, wire: Wire | None, *, tiled: bool) -> None:
        """Append a node. Raises `GraphError` where the step does not fit its input or its name is taken."""
        if not isinstance(step, Step):
            raise GraphError(f"{described(wire)} >> {step!r}: the right side is not an operator")
        if isinstance(step, Source) and wire is not None:
            raise GraphError(
                f"{step.name} is a source, where streams begin; {described(wire)} cannot feed it: "
                f"use graph.source(...)"
            )
        if any(node.name == step.name for node in self.nodes):
            raise GraphError(
                f"two operators are named {step.name}: give one another name, "
                f'e.g. {type(step).__name__}(..., name="{step.name}2")'
            )
        if isinstance(wire, Both) or isinstance(step, Synchronize):
            self._check_synchronized(step, wire)
        gives = signature(step).gives if wire is None else self._applied(step, wire)
        self.nodes = (*self.nodes, GraphNode(step, wire, tiled, gives))

    def _check_synchronized(self, step: Step, wire: Wire | None) -> None:
        if not (isinstance(wire, Both) and isinstance(step, Synchronize)):
            raise GraphError(f"{step.name}: streams are synchronized by synchronize(a, b)")
        for camera, side in zip(step.cameras, (wire.left, wire.right), strict=True):
            if camera not in (known := self.cameras_of(side)):
                raise GraphError(
                    f'{step.name}: {described(side)} has no camera "{camera}"{suggestion(camera, known)}'
                )

    def _applied(self, step: Step, wire: Wire) -> Type | None:
        kind = self.carried(wire)
        try:
            return applied(step, kind)
        except TypeError:
            takes = signature(step).takes
            raise GraphError(
                f"{step.name} takes {readable(takes)}, but {described(wire)} gives {readable(kind)}"
                f"{_mend(kind, takes)}"
            ) from None


@overload
def join(a: Stream[A], b: Stream[B]) -> Stream[tuple[A, B]]: ...
@overload
def join(a: Parts[A], b: Parts[B]) -> Parts[tuple[A, B]]: ...
def join(a: Any, b: Any) -> Any:
    """Pair two streams of the same cameras by frame.

    Raises `GraphError` where they come from different sources or graphs, or only one of them is split.
    """
    _require_streams("join", a, b)
    names = f"join of {described(a.wire)} and {described(b.wire)}"
    if a.graph is not b.graph:
        raise GraphError(f"{names}: they belong to two graphs, {a.graph.name} and {b.graph.name}")
    if type(a) is not type(b):
        raise GraphError(f"{names}: one is split into parts and the other is not; gather first")
    graph: Graph = a.graph
    left, right = (graph.begins_at(stream.wire) for stream in (a, b))
    if left != right:
        raise GraphError(
            f"{names}: their cameras differ ({', '.join(sorted(left))} and {', '.join(sorted(right))}); "
            f"frames can only be paired with results from the same source, or by time with synchronize(a, b)"
        )
    if isinstance(a, Parts) and (split := graph.split_of(a.wire)) != (other := graph.split_of(b.wire)):
        raise GraphError(f"{names}: the parts come from two splits, {split} and {other}")
    return type(a)(graph, Pair(a.wire, b.wire))


@overload
def synchronize(
    a: Stream[A],
    b: Stream[B],
    *,
    cameras: Sequence[str] | None = None,
    tolerance: float | str = ...,
    deadline: float | str = ...,
    name: str = ...,
) -> Stream[tuple[A, B]]: ...
@overload
def synchronize(
    a: Stream[A],
    *,
    cameras: Sequence[str],
    tolerance: float | str = ...,
    deadline: float | str = ...,
    name: str = ...,
) -> Stream[tuple[A, A]]: ...
def synchronize(
    a: Any,
    b: Any = None,
    *,
    cameras: Sequence[str] | None = None,
    tolerance: float | str = "40 ms",
    deadline: float | str = "200 ms",
    name: str = "",
) -> Any:
    """Pair the frames of two cameras, or results for them, that were taken at the same time.

    The cameras are those of two sources, `synchronize(a, b)`, or two of one source, `synchronize(stream,
    cameras=("north", "south"))`; where a source has several, `cameras` says which. A pair is of frames at most
    `tolerance` apart, the nearest ones, and every frame is in at most one pair: what has no partner is dropped
    and counted with that cause, and both frames of a pair end as the pair ends. For sinks a pair is a frame of
    the left camera: its name stands for `{camera}`.

    Live cameras are compared by when their frames were taken, and a frame waits at most `deadline` for its
    partner: one that is slow or gone takes no longer from the other. Files are compared by their own timelines,
    which begin together, and wait for each other. Times are seconds or texts such as "40 ms".

    Raises `GraphError` where the cameras are not two different ones of the streams, and `ConfigError` for a
    time of another form.

    >>> from flowedge import Graph
    >>> from flowedge.operators import Null, street
    >>> graph = Graph("gates")
    >>> (north, _), (south, _) = (street(graph, {c: "street://"}, name=c) for c in ("north", "south"))
    >>> synchronize(north, south, tolerance="20 ms") >> Null()
    >>> graph.node("Synchronize").step.tolerance
    0.02
    """
    stream = beside(a, a if b is None else b)
    wire = stream.wire
    sides = [wire.left] if b is None else [wire.left, wire.right]
    step: Synchronize[Any] = Synchronize(
        tuple(cameras) if cameras is not None else _only_cameras(stream.graph, sides),
        seconds(tolerance, "synchronize: tolerance"),
        seconds(deadline, "synchronize: deadline"),
        name=name,
    )
    return stream >> step


def beside(a: Any, b: Any) -> Any:
    """A stream that carries what both carry, for a `Synchronize`.

    Raises `GraphError` for parts of a split and for two streams with frames of one source.
    """
    _require_streams("synchronize", a, b)
    names = f"synchronize of {described(a.wire)} and {described(b.wire)}"
    if isinstance(a, Parts) or isinstance(b, Parts):
        raise GraphError(f"{names}: parts of a split cannot be synchronized; gather first")
    if a.graph is not b.graph:
        raise GraphError(f"{names}: they belong to two graphs, {a.graph.name} and {b.graph.name}")
    graph: Graph = a.graph
    common = graph.sources_of(a.wire) & graph.sources_of(b.wire)
    if a.wire != b.wire and common:
        raise GraphError(
            f"{names}: both have frames of {', '.join(sorted(common))}; join them first, and pair two "
            f'cameras of the result: synchronize(stream, cameras=("north", "south"))'
        )
    return Stream(graph, Both(a.wire, b.wire))


def _require_streams(call: str, *given: object) -> None:
    for value in given:
        if not isinstance(value, (Stream, Parts)):
            mend = f"stream >> {value.name}(...)" if isinstance(value, Step) else "a stream of this graph"
            raise GraphError(f"{call}: {redact(repr(value))} is not a stream; give {mend}")


def _only_cameras(graph: Graph, wires: Sequence[Wire]) -> tuple[str, ...]:
    cameras = [graph.cameras_of(wire) for wire in wires]
    if len(wires) == 1 or any(len(names) != 1 for names in cameras):
        among = " and ".join(", ".join(sorted(names)) for names in cameras)
        raise GraphError(f'synchronize: say which two of {among}, e.g. cameras=("north", "south")')
    return tuple(name for (name,) in cameras)


def unzip(stream: Stream[tuple[A, B]]) -> tuple[Stream[A], Stream[B]]:
    """The two streams of a stream of pairs: the inverse of `join`."""
    kind = stream.graph.carried(stream.wire)
    if not _halves(kind):
        raise GraphError(f"unzip: {described(stream.wire)} gives {readable(kind)}, not pairs")
    handle: Any = type(stream)
    return handle(stream.graph, Half(stream.wire, 0)), handle(stream.graph, Half(stream.wire, 1))


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_name(value: object) -> bool:
    return isinstance(value, str) and value != ""


def _halves(kind: Type) -> tuple[Type, ...]:
    """The two types of a pair; nothing for another type."""
    origin: Any = get_origin(kind)
    arguments = get_args(kind)
    return arguments if origin is tuple and len(arguments) == 2 else ()


def _mend(given: Type, wanted: Type) -> str:
    """What most likely was meant, where we can tell."""
    fitting = [index for index, half in enumerate(_halves(wanted)) if fits(given, half, {})]
    if fitting:
        missing = readable(_halves(wanted)[1 - fitting[0]])
        return f": join it with a stream of {missing}, e.g. join(frames, detections)"
    names = {readable(given), readable(wanted)}
    if names == {"Frame", "Detections"} and readable(wanted) == "Detections":
        return ": put a Detect() between them"
    if names == {"Detections", "Tracks"} and readable(wanted) == "Tracks":
        return ": put a Track() between them"
    if readable(wanted) == "Frame" and "Packet" in readable(given):
        return ": put a Decode() between them"
    if readable(wanted) == "Frame":
        return ": draw them on their frames first, join(frames, detections) >> Draw()"
    return ""
