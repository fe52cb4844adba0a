"""Networks from GraphML, such as those of the Internet Topology Zoo, as clusters.

>>> text = '''<graphml xmlns="http://graphml.graphdrawing.org/xmlns">
...   <key attr.name="label" for="node" id="l"/>
...   <key attr.name="Latitude" for="node" id="y"/><key attr.name="Longitude" for="node" id="x"/>
...   <key attr.name="LinkSpeedRaw" for="edge" id="s"/>
...   <graph edgedefault="undirected">
...     <node id="0"><data key="l">Bern</data><data key="y">46.95</data><data key="x">7.45</data></node>
...     <node id="1"><data key="l">Rome</data><data key="y">41.89</data><data key="x">12.51</data></node>
...     <edge source="0" target="1"><data key="s">1e9</data></edge>
...   </graph>
... </graphml>'''
>>> found = cluster(text)
>>> [node.name for node in found.nodes], found.links[0].bandwidth, round(found.links[0].delay, 5)
(['Bern', 'Rome'], 1000000000.0, 0.00346)
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from xml.etree import ElementTree

from flowedge.errors import ConfigError
from flowedge.planner.model import units
from flowedge.planner.model.cluster import Cluster, Link, Node

BANDWIDTH = 10e9
"""Bit/s of a link whose file says nothing."""
DELAY = 0.001
"""Seconds of a link whose ends have no coordinates."""
NODE = Node("", "network", "site", 0.0)
"""What a node is of which the file says nothing but the name: a place without a machine."""
FIBRE = 2e8
"""Metres per second of light in glass."""
_EARTH = 6_371e3

Fields = Mapping[str, str]


def cluster(
    text: str,
    *,
    bandwidth: float = BANDWIDTH,
    delay: float = DELAY,
    node: Node = NODE,
    where: str = "GraphML",
) -> Cluster:
    """The nodes and edges of a GraphML file, in whatever groups they are.

    A node has its `label` (or yEd's, or `name`) as name, its id where two share one or there is none, and may
    have the attributes `tier`, `kind`, `cores`, `gpu`, `memory` ("8 GiB") and `price`; what is missing is that
    of `node`. Tiers are in order of appearance. An edge has `bandwidth` ("1 Gbit/s") or, as Topology Zoo has,
    `LinkSpeedRaw` (bit/s) or a `LinkLabel` or `label` such as "OC-192" or "2.5 Gbps"; and `delay`
    ("4 ms"), or that of light in fibre along the great circle between the `Latitude` and `Longitude` (degrees)
    of its ends; and the `deviation` of it; `bandwidth` and `delay` stand in for what is missing. Capitals in
    names of attributes do not matter. Edges count both ways, whatever `edgedefault` says; of equal ones
    the fastest is used. Raises `ConfigError`, which begins with `where`.
    """
    root = _root(text, where)
    keys = _Keys(root)
    fields_of: dict[str, Fields] = {}
    for element in _nodes(root):
        key = element.get("id")
        if not key or key in fields_of:
            wrong = f"two nodes have the id {key!r}" if key else "a node has no id"
            raise ConfigError(f"{where}: {wrong}; give every <node> an id of its own")
        fields_of[key] = keys.fields(element, "node")
    names = _names(fields_of)
    nodes = tuple(_node(names[key], fields, node, where) for key, fields in fields_of.items())
    if not nodes:
        raise ConfigError(f"{where}: has no <node>; at least one is needed")
    links = []
    for edge in _all(root, "edge"):
        a, b = edge.get("source", ""), edge.get("target", "")
        for end in (a, b):
            if end not in fields_of:
                raise ConfigError(f"{where}: an edge ends at {end!r}, which is no node; name one by its id")
        if a != b:
            fields = keys.fields(edge, "edge")
            field = f"{where}: edge {names[a]} - {names[b]}"
            speed = _bandwidth(fields, bandwidth, field)
            seconds = _delay(fields, fields_of[a], fields_of[b], delay, field)
            spread = units.seconds(fields.get("deviation", "0 s"), f"{field}: deviation")
            links.append(Link(names[a], names[b], speed, seconds, spread))
    try:
        return Cluster(tuple(dict.fromkeys(node.tier for node in nodes)), nodes, tuple(links))
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error


def _root(text: str, where: str) -> ElementTree.Element:
    try:
        root = ElementTree.fromstring(text.removeprefix("\ufeff"))
    except ElementTree.ParseError as error:
        raise ConfigError(f"{where}: is no XML: {error}; a GraphML file is needed") from error
    if next(_all(root, "graph"), None) is None:
        raise ConfigError(f"{where}: is no GraphML; it has no <graph>")
    return root


def _all(element: ElementTree.Element, name: str) -> Iterator[ElementTree.Element]:
    """Elements of this name anywhere below, with or without GraphML's namespace."""
    return (part for part in element.iter() if _local(part) == name)


def _local(element: ElementTree.Element) -> str:
    return str(element.tag).rpartition("}")[2]


def _nodes(root: ElementTree.Element) -> Iterator[ElementTree.Element]:
    """All nodes but those that only hold others, as yEd's groups do."""
    return (
        candidate
        for candidate in _all(root, "node")
        if not any(_local(child) == "graph" for child in candidate)
    )


class _Keys:
    """The names of attributes by key, and the values that they have where nothing is said."""

    def __init__(self, root: ElementTree.Element) -> None:
        self._names: dict[str, str] = {}
        self._defaults: dict[str, dict[str, str]] = {"node": {}, "edge": {}}
        for key in _all(root, "key"):
            name = self._names[key.get("id", "")] = key.get("attr.name", "").lower()
            default = next(_all(key, "default"), None)
            for sort in self._defaults:
                if default is not None and key.get("for", "all") in (sort, "all"):
                    self._defaults[sort][name] = (default.text or "").strip()

    def fields(self, element: ElementTree.Element, sort: str) -> Fields:
        """What is said of a node or edge, by attribute."""
        values = dict(self._defaults[sort])
        for data in element:
            if _local(data) == "data":
                values[self._names.get(data.get("key", ""), "")] = (data.text or "").strip()
        drawn = (label.text or "" for label in _all(element, "NodeLabel"))
        values.setdefault("label", next(drawn, "").strip() or values.get("name", ""))
        return {name: value for name, value in values.items() if name and value}


def _names(fields_of: Mapping[str, Fields]) -> dict[str, str]:
    """Labels where they tell nodes apart, ids where not."""
    counts = Counter(fields.get("label", "") for fields in fields_of.values())
    names = {}
    for key, fields in fields_of.items():
        label = fields.get("label", "")
        names[key] = label if label and counts[label] == 1 and (label == key or label not in fields_of) else key
    return names


def _node(name: str, fields: Fields, default: Node, where: str) -> Node:
    field = f"{where}: node {name}"
    memory = fields.get("memory")
    return Node(
        name,
        fields.get("tier", default.tier),
        fields.get("kind", default.kind),
        _number(fields, "cores", field, default.cores),
        gpu=_number(fields, "gpu", field, default.gpu),
        memory=default.memory if memory is None else units.size(memory, f"{field}: memory"),
        price=_number(fields, "price", field, default.price),
    )


def _bandwidth(fields: Fields, default: float, field: str) -> float:
    if "bandwidth" in fields:
        return units.bits_per_second(fields["bandwidth"], f"{field}: bandwidth")
    if "linkspeedraw" in fields:
        return _number(fields, "linkspeedraw", field, default) or default
    return labelled(fields.get("linklabel") or fields.get("label", "")) or default


def labelled(text: str) -> float | None:
    """Bit/s from the usual names of lines; None where it is none of them.

    >>> labelled("OC-192c"), labelled("< 2.5 Gbps >"), labelled("Dark fibre")
    (9953280000.0, 2500000000.0, None)
    """
    optical = re.search(r"\bOC-?(\d+)", text, re.IGNORECASE)
    if optical:
        return int(optical[1]) * 51.84e6
    plain = re.search(r"(\d+(?:\.\d+)?) ?([kMG])(?:bps|bit/s|b/s)", text)
    return float(plain[1]) * {"k": 1e3, "M": 1e6, "G": 1e9}[plain[2]] if plain else None


def _delay(fields: Fields, a: Fields, b: Fields, default: float, field: str) -> float:
    if "delay" in fields:
        return units.seconds(fields["delay"], f"{field}: delay")
    if not all(name in end for end in (a, b) for name in ("latitude", "longitude")):
        return default
    places = [_number(end, name, field, 0.0) for end in (a, b) for name in ("latitude", "longitude")]
    north_a, east_a, north_b, east_b = map(math.radians, places)
    # Haversine.
    chord = math.sin((north_a - north_b) / 2) ** 2
    chord += math.cos(north_a) * math.cos(north_b) * math.sin((east_a - east_b) / 2) ** 2
    return 2 * _EARTH * math.asin(math.sqrt(min(1.0, chord))) / FIBRE


def _number(fields: Fields, name: str, field: str, default: float) -> float:
    try:
        value = float(fields.get(name, default))
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ConfigError(f"{field}: {name}: {fields[name]!r} is not a number like 2.5")
    return value
