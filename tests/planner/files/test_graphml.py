"""Networks from GraphML."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from flowedge.errors import ConfigError
from flowedge.planner.files.graphml import cluster

KEYS = "".join(
    f'<key attr.name="{name}" for="{kind}" id="{name}"/>'
    for kind, names in (
        ("node", ("label", "tier", "kind", "cores", "gpu", "Latitude", "Longitude")),
        ("edge", ("bandwidth", "delay", "LinkSpeedRaw", "LinkLabel")),
    )
    for name in names
)


def graph(body: str, namespace: str = ' xmlns="http://graphml.graphdrawing.org/xmlns"') -> str:
    return f"<graphml{namespace}>{KEYS}<graph edgedefault='undirected'>{body}</graph></graphml>"


def node(key: str, **fields: object) -> str:
    return f'<node id="{key}">{data(**fields)}</node>'


def edge(a: str, b: str, **fields: object) -> str:
    return f'<edge source="{a}" target="{b}">{data(**fields)}</edge>'


def data(**fields: object) -> str:
    return "".join(f'<data key="{name}">{value}</data>' for name, value in fields.items())


@pytest.mark.parametrize("namespace", ["", ' xmlns="http://graphml.graphdrawing.org/xmlns"'])
def test_attributes_become_nodes_and_links(namespace: str) -> None:
    found = cluster(
        graph(
            node("0", label="Bern", tier="edge", kind="jetson", cores=6, gpu=1)
            + node("1", label="Basel", tier="cloud")
            + edge("0", "1", bandwidth="30 Mbit/s", delay="4 ms"),
            namespace,
        )
    )
    assert found.tiers == ("edge", "cloud")
    assert (found["Bern"].kind, found["Bern"].cores, found["Bern"].gpu) == ("jetson", 6.0, 1.0)
    assert (found.links[0].bandwidth, found.links[0].delay) == (30e6, 0.004)


def test_delay_is_that_of_light_between_coordinates() -> None:
    places = node("0", Latitude=0, Longitude=179) + node("1", Latitude=0, Longitude=-179)
    # Two degrees of the equator across the date line: 222.4 km at 200 000 km/s.
    assert cluster(graph(places + edge("0", "1"))).links[0].delay == pytest.approx(222.39e3 / 2e8, rel=1e-4)


def test_what_is_missing_has_a_default_and_labels_say_speeds() -> None:
    body = node("0") + node("1", Latitude=1, Longitude=1) + node("2")
    body += edge("0", "1") + edge("1", "2", LinkLabel="OC-3") + edge("0", "2", LinkSpeedRaw="2.5e9")
    links = cluster(graph(body), bandwidth=7.0, delay=0.5).links
    assert [link.bandwidth for link in links] == [7.0, 155.52e6, 2.5e9]
    assert {link.delay for link in links} == {0.5}


def test_equal_labels_give_way_to_ids() -> None:
    found = cluster(graph(node("0", label="?") + node("1", label="?") + node("2", label="Rome")))
    assert [each.name for each in found.nodes] == ["0", "1", "Rome"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<graphml", "net: is no XML"),
        ("<svg/>", "net: is no GraphML"),
        (graph(node("0") + edge("0", "9")), "net: an edge ends at '9'"),
        (
            graph(node("0") + node("1") + edge("0", "1", delay="4")),
            "net: edge 0 - 1: delay: '4' is not a quantity",
        ),
        (graph(node("0", cores="many")), "net: node 0: cores: 'many' is not a number"),
    ],
)
def test_mistakes_are_named(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        cluster(text, where="net")


@pytest.mark.parametrize(
    ("name", "nodes", "known"),
    [("Abilene", 11, "Denver"), ("Bellcanada", 48, "Sudbury"), ("Switch", 74, "ETH")],
)
def test_topology_zoo(name: str, nodes: int, known: str) -> None:
    if "FLOWEDGE_DATA" not in os.environ:
        pytest.skip("FLOWEDGE_DATA names no folder of evaluation data")
    path = Path(os.environ["FLOWEDGE_DATA"]) / "planner" / "topology" / f"{name}.graphml"
    found = cluster(path.read_text())
    assert len(found.nodes) == nodes
    reached = [end.name for end in found.nodes if found.path(known, end.name) is not None]
    assert len(reached) > 0.9 * nodes


def test_groups_defaults_and_odd_names() -> None:
    keys = (
        '<key id="a" for="node" attr.name="Name"/><key id="b" for="edge" attr.name="BANDWIDTH">'
        '<default>5 Mbit/s</default></key><key id="c" for="edge" attr.name="Delay"/>'
        '<key id="d" for="node" attr.name="Memory"/>'
    )
    inner = "".join(f'<node id="g::{at}"><data key="a">{name}</data></node>' for at, name in enumerate("xy"))
    text = (
        f'\ufeff<graphml>{keys}<graph><node id="g"><graph>{inner}<edge source="g::0" target="g::1"/>'
        "</graph></node>"
        '<node id="z"><data key="d">2 GiB</data></node>'
        '<edge source="g::1" target="z"><data key="c">3 ms</data><data key="b">1e9 bit/s</data></edge>'
        "</graph></graphml>"
    )
    found = cluster(text)
    assert [each.name for each in found.nodes] == ["x", "y", "z"]
    assert [(each.bandwidth, each.delay) for each in found.links] == [(5e6, 0.001), (1e9, 0.003)]
    assert found["z"].memory == 2 * 2**30


def test_labels_that_are_the_id_of_another_give_way() -> None:
    found = cluster(graph(node("0", label="1") + node("1", label="?") + node("2", label="?")))
    assert [each.name for each in found.nodes] == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (node("0") + node("0"), "two nodes have the id '0'"),
        ("<node/>", "a node has no id"),
        ("", "has no <node>"),
        (node("0", Latitude=0, Longitude="x") + node("1", Latitude=0, Longitude=0) + edge("0", "1"), "'x'"),
        (
            node("0") + node("1") + edge("0", "1", bandwidth=1000),
            "bandwidth: '1000' is not a quantity",
        ),
        (node("0", cores=-1), r"^GraphML: 0\.cores: -1\.0 is not a number from 0"),
    ],
)
def test_more_mistakes_are_named(body: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        cluster(graph(body))
