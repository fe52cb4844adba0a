"""A graph as JSON, so that it can be kept, compared by digest and sent to another process.

{"flowedge": 1, "name": "crossing", "goal": {...}, "operators": [
  {"name": "video", "operator": "flowedge.operators.video:VideoSource", "input": null, "fields": {...}},
  {"name": "Resize", "operator": "flowedge.operators.resize:Resize", "input": "Decode",
   "fields": {"width": {"choose": "size", "values": [416, 512]}, "height": null}}]}

An operator of the user's own file is addressed by {"file": path, "sha256": of its text, "class": name}. An
input is the name of an operator, {"join": [input, input]}, {"part": [input, index]} or, of `Synchronize`,
{"synchronize": [input, input]}. In fields, {"tuple": [...]}, {"mapping": {...}}, {"path": "..."} and {"float":
"inf"} stand for what JSON does not have. References such as ${CAM_PASS} stay references.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import math
import sys
from collections.abc import Mapping
from dataclasses import asdict, fields
from functools import cache
from pathlib import Path
from types import NoneType
from typing import Any, TypeAlias

from flowedge.errors import GraphError, UserError
from flowedge.graph.contract import Source, Step
from flowedge.graph.graph import Goal, Graph, beside, join, unzip
from flowedge.graph.knobs import Choice, choose
from flowedge.graph.loading import UserFile, module_of, user_file
from flowedge.graph.nodes import Both, GraphNode, Half, Output, Pair, Wire
from flowedge.version import __version__

VERSION = 1

JSON: TypeAlias = Any
"""What the json module reads and writes."""

Handle: TypeAlias = Any
"""A `Stream` or `Parts`, which themselves refuse what does not fit."""


def to_json(graph: Graph) -> dict[str, JSON]:
    """The graph as plain data.

    Raises `GraphError` for an operator that is defined inside a function, and for a field that is not data.

    >>> from flowedge import Graph
    >>> to_json(Graph("tiny"))["operators"]
    []
    """
    return {
        "flowedge": VERSION,
        "name": graph.name,
        "goal": asdict(graph.goal),
        "operators": [_operator(node) for node in graph.nodes],
    }


def from_json(data: JSON) -> Graph:
    """The graph that `to_json` wrote, built and checked anew.

    This imports the modules that the data names and executes the user's files that it names (only with the
    text that was hashed), so read only graphs that come from somebody you trust. Raises `GraphError` for data
    of another form, a class that is not an operator and a file that is gone or has changed, and `ConfigError`
    for a field that its operator refuses.

    >>> from flowedge import Graph
    >>> from_json(to_json(Graph("tiny"))) == Graph("tiny")
    True
    """
    _expect(data, "a graph", flowedge=int, name=str, goal=dict, operators=list)
    if data["flowedge"] != VERSION:
        raise GraphError(f"a graph: format {data['flowedge']} is not {VERSION}, the one that is known here")
    try:
        graph = Graph(data["name"], Goal(**data["goal"]))
    except TypeError as error:
        raise GraphError(f"a graph: the goal is malformed: {error}") from error
    handles: dict[str, Handle] = {}
    for item in data["operators"]:
        _add(graph, item, handles)
    return graph


def digest(graph: Graph) -> str:
    """The sha256 of the graph's JSON: the same in every process and on every machine.

    Of a user's file its text counts, not where it lies. Raises as `to_json`.

    >>> from flowedge import Graph
    >>> digest(Graph("tiny")) == digest(Graph("tiny")), len(digest(Graph("tiny")))
    (True, 64)
    """
    data = to_json(graph)
    for item in data["operators"]:
        if isinstance(item["operator"], dict):
            del item["operator"]["file"]
    return hashlib.sha256(_canonical(data)).hexdigest()


def definition(step: Step) -> str:
    """The sha256 of what decides over the meaning of a step's state: its code and its fields.

    The code is the text of the file that defines the class, and the version of FlowEdge. The step's name does
    not count, nor do its knobs, so state survives when a plan sets them: ask for the step as it stands in the
    graph, before that. Raises as `to_json`.

    >>> from flowedge import choose
    >>> from flowedge.operators import Track
    >>> definition(Track(low=0.2)) == definition(Track())
    False
    >>> definition(Track(low=choose("low", 0.1, 0.2))) == definition(Track(low=choose("low", 0.2, 0.1)))
    True
    """
    address = _address(type(step))
    code = address["sha256"] if isinstance(address, dict) else _text_digest(type(step).__module__)
    name = address["class"] if isinstance(address, dict) else address
    parts = {name: value for name, value in _fields(step).items() if name not in step.knobs}
    return hashlib.sha256(_canonical([__version__, name, code, parts])).hexdigest()


@cache
def _text_digest(module: str) -> str:
    path = getattr(sys.modules[module], "__file__", None)
    text = Path(path).read_bytes() if path and Path(path).is_file() else b""
    return hashlib.sha256(text).hexdigest()


def _canonical(data: JSON) -> bytes:
    return json.dumps(data, sort_keys=True, separators=(",", ":")).encode()


def _fields(step: Step, *, settled: bool = False) -> dict[str, JSON]:
    """The configuration of a step; of a knob its value where they are `settled`, else the choice."""
    values = {item.name: getattr(step, item.name) for item in fields(step) if item.init}
    del values["name"], values["knobs"]
    return {
        name: _from_value(value if settled else step.knobs.get(name, value), f"{step.name}.{name}")
        for name, value in values.items()
    }


def step_to_json(step: Step) -> dict[str, JSON]:
    """One step as plain data, with the values that it has now: its knobs are settled.

    Raises as `to_json`.

    >>> from flowedge.operators import Resize
    >>> step_to_json(Resize(416))["fields"]["width"]
    416
    """
    return {"name": step.name, "operator": _address(type(step)), "fields": _fields(step, settled=True)}


def step_from_json(data: JSON) -> Step:
    """The step that `step_to_json` wrote, built and checked anew; trust and errors are those of `from_json`.

    >>> from flowedge.operators import Resize
    >>> step_from_json(step_to_json(Resize(416))) == Resize(416)
    True
    """
    _expect(data, "an operator", name=str, operator=(str, dict), fields=dict)
    return _step(data)


def _operator(node: GraphNode) -> dict[str, JSON]:
    step = node.step
    return {
        "name": step.name,
        "operator": _address(type(step)),
        "input": None if node.input is None else _from_wire(node.input),
        "fields": _fields(step),
    }


def _address(cls: type[Step]) -> JSON:
    """Where another process finds the class."""
    if _member(sys.modules[cls.__module__], cls.__qualname__) is None:
        raise GraphError(
            f"{cls.__name__}: the class cannot be found from elsewhere: define it at the top of its file"
        )
    file = user_file(cls.__module__)
    if file is None:
        return f"{cls.__module__}:{cls.__qualname__}"
    return {"file": str(file.path), "sha256": file.sha256, "class": cls.__qualname__}


def _class(address: JSON) -> type[Step]:
    """The operator at an address; the reverse of `_address`."""
    if isinstance(address, str):
        name, _, qualname = address.partition(":")
        try:
            module = importlib.import_module(name)
        except Exception as error:
            raise GraphError(f"{address}: the module cannot be imported: {error}") from error
    else:
        _expect(address, "an operator's address", file=str, sha256=str, **{"class": str})
        qualname = address["class"]
        module = module_of(UserFile(Path(address["file"]), address["sha256"]))
    found = _member(module, qualname)
    if not (isinstance(found, type) and issubclass(found, Step)):
        raise GraphError(f"{address}: this is not an operator")
    return found


def _member(module: object, qualname: str) -> object:
    """What a dotted name means in a module; None where it means nothing."""
    for name in qualname.split("."):
        module = getattr(module, name, None)
    return module


def _from_wire(wire: Wire) -> JSON:
    match wire:
        case Output(step):
            return step
        case Pair(left, right):
            return {"join": [_from_wire(left), _from_wire(right)]}
        case Half(of, index):
            return {"part": [_from_wire(of), index]}
        case Both(left, right):
            return {"synchronize": [_from_wire(left), _from_wire(right)]}


def _handle(wire: JSON, handles: Mapping[str, Handle], name: str) -> Handle:
    """The stream, or the parts, that the operator `name` is fed with."""
    match wire:
        case str():
            if (handle := handles.get(wire)) is not None:
                return handle
            raise GraphError(f'{name}: no operator before it gives a stream named "{wire}"')
        case {"join": [left, right]} if len(wire) == 1:
            return join(_handle(left, handles, name), _handle(right, handles, name))
        case {"part": [of, 0 | 1 as index]} if len(wire) == 1:
            return unzip(_handle(of, handles, name))[index]
        case {"synchronize": [left, right]} if len(wire) == 1:
            return beside(_handle(left, handles, name), _handle(right, handles, name))
    raise GraphError(f"{name}: its input is malformed: {wire!r}")


def _add(graph: Graph, item: JSON, handles: dict[str, Handle]) -> None:
    """Build one operator of the data and put it into the graph."""
    _expect(item, "an operator", name=str, operator=(str, dict), input=(str, dict, NoneType), fields=dict)
    name, step = item["name"], _step(item)
    if isinstance(step, Source) != (item["input"] is None):
        raise GraphError(f"{name}: a source has no input, and every other operator has one")
    if isinstance(step, Source):
        handles[step.name] = graph.source(step)
    else:
        handles[step.name] = _handle(item["input"], handles, name) >> step


def _step(item: Mapping[str, JSON]) -> Step:
    name = item["name"]
    configuration = {key: _to_value(value, f"{name}.{key}") for key, value in item["fields"].items()}
    cls = _class(item["operator"])
    try:
        return cls(**configuration, name=name)
    except UserError:
        raise
    except Exception as error:
        raise GraphError(f"{name}: the operator cannot be built: {error}") from error


def _from_value(value: object, where: str) -> JSON:
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if math.isfinite(value) else {"float": str(value)}
        case list():
            return [_from_value(item, where) for item in value]
        case tuple():
            return {"tuple": [_from_value(item, where) for item in value]}
        case Mapping() if all(isinstance(key, str) for key in value):
            return {"mapping": {key: _from_value(item, where) for key, item in value.items()}}
        case Path():
            return {"path": str(value)}
        case Choice(name, values):
            return {"choose": name, "values": [_from_value(item, where) for item in values]}
    raise GraphError(
        f"{where}: a value of type {type(value).__name__} cannot leave this process: a field is made of "
        f"str, int, float, bool, None, Path, tuples, lists and mappings by name"
    )


def _to_value(data: JSON, where: str) -> Any:
    match data:
        case None | bool() | int() | float() | str():
            return data
        case list():
            return [_to_value(item, where) for item in data]
        case {"tuple": list(items)} if len(data) == 1:
            return tuple(_to_value(item, where) for item in items)
        case {"mapping": dict(items)} if len(data) == 1:
            return {key: _to_value(item, where) for key, item in items.items()}
        case {"path": str(text)} if len(data) == 1:
            return Path(text)
        case {"float": "inf" | "-inf" | "nan" as text} if len(data) == 1:
            return float(text)
        case {"choose": str(name), "values": list(values)} if len(data) == 2:
            return choose(name, *(_to_value(item, where) for item in values))
    raise GraphError(f"{where}: the value is malformed: {data!r}")


def _expect(data: JSON, what: str, **kinds: type | tuple[type, ...]) -> None:
    """Raise `GraphError` unless the data is an object of exactly these members, each of its kind."""
    if not isinstance(data, dict) or data.keys() != kinds.keys():
        raise GraphError(f"{what}: an object with {', '.join(kinds)} is needed, not {_shortened(data)}")
    for name, kind in kinds.items():
        if not isinstance(data[name], kind):
            raise GraphError(f"{what}: its {name} is malformed: {_shortened(data[name])}")


def _shortened(data: JSON) -> str:
    text = repr(data)
    return text if len(text) <= 80 else f"{text[:77]}..."
