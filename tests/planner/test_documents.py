"""Files by their ending."""

from __future__ import annotations

from typing import NoReturn

import pytest

from flowedge.errors import ConfigError
from flowedge.planner import documents

GRAPH = "<graphml><graph><node id='a'/><node id='b'/><edge source='a' target='b'/></graph></graphml>"


def none(name: str) -> NoReturn:
    raise AssertionError(f"{name} was asked for")


def test_a_topology_gets_machines_and_links() -> None:
    text = """
    topology = { graphml = "net.graphml", cores = 2, kind = "orin", tier = "edge" }
    nodes = [{ name = "b", tier = "cloud", kind = "xeon", cores = 8 }, { name = "c", tier = "edge", kind = "pi", cores = 1 }]
    links = [{ between = ["a", "c"], bandwidth = "1 Mbit/s" }]
    """  # noqa: E501
    found = documents.cluster("c.toml", text, {"net.graphml": GRAPH}.__getitem__)
    assert [(each.name, each.tier, each.cores) for each in found.nodes] == [
        ("a", "edge", 2),
        ("b", "cloud", 8),
        ("c", "edge", 1),
    ]
    assert found.tiers == ("edge", "cloud")
    assert len(found.links) == 2


def test_a_bare_topology_is_a_cluster() -> None:
    assert [each.name for each in documents.cluster("net.graphml", GRAPH, none).nodes] == ["a", "b"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("c.toml", "tiers = [", r"^c\.toml: is not TOML"),
        ("c.json", "{", r"^c\.json: is not JSON"),
        ("c.json", "[1]", r"^c\.json: '\[1\]' is not a table"),
        ("c.toml", 'tiers = ["edge"]', r"^c\.toml: nodes: a cluster needs"),
        ("n.graphml", "<a/>", r"^n\.graphml: is no GraphML"),
        ("n.graphml", "NODES 11\n", r"^n\.graphml: is no XML"),
    ],
)
def test_mistakes_name_the_file(name: str, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        documents.cluster(name, text, none)


def test_a_problem_names_its_parts_once() -> None:
    texts = {"c.toml": 'tiers = ["edge"]\nnodes = [{ name = "a", tier = "edge", kind = "k", cores = 1 }]'}
    found = documents.problem("p.toml", 'cluster = "c.toml"', texts.__getitem__)
    assert found.cluster["a"].cores == 1
    with pytest.raises(ConfigError, match=r"p\.toml: tiers: is in c\.toml too"):
        documents.problem("p.toml", 'cluster = "c.toml"\ntiers = []', texts.__getitem__)
    with pytest.raises(ConfigError, match="profiles: 'x' is not a list of files"):
        documents.problem("p.toml", 'profiles = "x"', none)
