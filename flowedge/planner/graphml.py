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
from collections.abc import Iterator, Mapping
from xml.etree import ElementTree

from flowedge.errors import ConfigError
from flowedge.planner import units
from flowedge.planner.cluster import Cluster, Link, Node

BANDWIDTH = 10e9
"""Bit/s of a link whose file says nothing."""
DELAY = 0.001
"""Seconds of a link whose ends have no coordinates."""
FIBRE = 2e8
"""Metres per second of light in glass."""
_EARTH = 6_371e3

Fields = Mapping[str, str]


def cluster(
    text: str, *, bandwidth: float = BANDWIDTH, delay: float = DELAY, cores: float = 0.0, where: str = "GraphML"
) -> Cluster:
    """The nodes and edges of a GraphML file.

    A node has its `label` (or yEd's) as name, its id where two share one or there is none, and may have the
    attributes `tier` ("network" where it has none), `kind` ("site"), `cores` and `gpu`. Tiers are in order of
    appearance. An edge has `bandwidth` ("1 Gbit/s") or, as the Topology Zoo has them, `LinkSpeedRaw` (bit/s)
    or a `LinkLabel` or `label` such as "OC-192" or "2.5 Gbps"; and `delay` ("4 ms"), or
    that of light in fibre along the great circle between the `Latitude` and `Longitude` of its
    ends; `bandwidth` and `delay` stand in for what is missing. Edges count both ways, whatever `edgedefault`
    says; of equal ones the fastest is used. Raises `ConfigError`, which begins with `where`.
    """
    graph, keys = _graph(text, where)
    given = {node.get("id", ""): _fields(node, keys) for node in _children(graph, "node")}
    labels = [fields.get("label", "") for fields in given.values()]
    names = {
        key: fields["label"] if fields.get("label") and labels.count(fields["label"]) == 1 else key
        for key, fields in given.items()
    }
    nodes = tuple(_node(names[key], fields, cores, where) for key, fields in given.items())
    links = []
    for edge in _children(graph, "edge"):
        a, b = edge.get("source", ""), edge.get("target", "")
        for end in (a, b):
            if end not in given:
                raise ConfigError(f"{where}: an edge ends at {end!r}, which is no node")
        if a != b:
            fields = _fields(edge, keys)
            field = f"{where}: edge {names[a]} - {names[b]}"
            seconds = _delay(fields, given[a], given[b], delay, field)
            links.append(Link(names[a], names[b], _bandwidth(fields, bandwidth, field), seconds))
    return Cluster(tuple(dict.fromkeys(node.tier for node in nodes)), nodes, tuple(links))


def _graph(text: str, where: str) -> tuple[ElementTree.Element, dict[str, str]]:
    """The graph of a file, and the names of its attributes by key."""
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise ConfigError(f"{where}: is no XML: {error}") from error
    graph = next(_children(root, "graph"), None)
    if graph is None:
        raise ConfigError(f"{where}: is no GraphML; it has no <graph>")
    keys = {key.get("id", ""): key.get("attr.name", "") for key in _children(root, "key")}
    return graph, keys


def _children(element: ElementTree.Element, name: str) -> Iterator[ElementTree.Element]:
    """Elements of this name, with or without GraphML's namespace."""
    return (child for child in element if child.tag.rpartition("}")[2] == name)


def _fields(element: ElementTree.Element, keys: Mapping[str, str]) -> Fields:
    found = {
        keys.get(data.get("key", ""), ""): (data.text or "").strip() for data in _children(element, "data")
    }
    drawn = (each.text or "" for each in element.iter() if each.tag.rpartition("}")[2] == "NodeLabel")
    found.setdefault("label", next(drawn, "").strip())
    return {name: value for name, value in found.items() if name and value}


def _node(name: str, fields: Fields, cores: float, where: str) -> Node:
    field = f"{where}: node {name}"
    return Node(
        name,
        fields.get("tier", "network"),
        fields.get("kind", "site"),
        _number(fields, "cores", field, cores),
        gpu=_number(fields, "gpu", field, 0.0),
    )


def _bandwidth(fields: Fields, default: float, field: str) -> float:
    if "bandwidth" in fields:
        return units.bits_per_second(fields["bandwidth"], f"{field}: bandwidth")
    if "LinkSpeedRaw" in fields:
        return _number(fields, "LinkSpeedRaw", field, default) or default
    return labelled(fields.get("LinkLabel") or fields.get("label", "")) or default


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
    if not all(name in end for end in (a, b) for name in ("Latitude", "Longitude")):
        return default
    places = [_number(end, name, field, 0.0) for end in (a, b) for name in ("Latitude", "Longitude")]
    north_a, east_a, north_b, east_b = map(math.radians, places)
    # Haversine.
    chord = math.sin((north_a - north_b) / 2) ** 2
    chord += math.cos(north_a) * math.cos(north_b) * math.sin((east_a - east_b) / 2) ** 2
    return 2 * _EARTH * math.asin(math.sqrt(min(1.0, chord))) / FIBRE


def _number(fields: Fields, name: str, field: str, default: float) -> float:
    try:
        return float(fields.get(name, default))
    except ValueError:
        raise ConfigError(f"{field}: {name}: {fields[name]!r} is not a number") from None
