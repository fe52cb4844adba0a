"""Files by their ending."""

from __future__ import annotations

from typing import NoReturn

import pytest

from flowedge.errors import ConfigError
from flowedge.planner.files import documents

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


APPLICATION = 'applications = [{ name = "x", stages = [{ name = "video", source = true }] }]\n'
NODE = 'nodes = [{ name = "a", tier = "edge", kind = "k", cores = 1 }]\n'


@pytest.mark.parametrize(
    ("own", "part", "message"),
    [
        ("", NODE.replace("1", '"four"') + 'tiers = ["edge"]', r"^c\.toml: nodes\[0\]\.cores: 'four'"),
        ("links = []\n", NODE + 'tiers = ["cloud"]', r"^c\.toml: a\.tier: 'edge' is none of cloud"),
        (
            "",
            NODE + 'tiers = ["edge"]\ncameras = [{ name = "n" }]',
            r"^c\.toml: cameras\[0\]\.fps: is",
        ),
        (
            "",
            NODE + 'tiers = ["edge"]\ncameras = [{ name = "n", node = "b", fps = 1 }]',
            r"^c\.toml: cameras n: there is no node 'b'",
        ),
        ("", 'topology = { graphml = "n.graphml" }', r"^n\.graphml: a\.cores: -1\.0 is not a number from 0"),
        ('topology = { graphml = "n.graphml" }\n', "cameras = []", r"^n\.graphml: a\.cores: -1\.0"),
        ("utilisation = 2\n", NODE + 'tiers = ["edge"]', r"^p\.toml: utilisation: 2"),
        ("cameras = 3\n", NODE + 'tiers = ["edge"]', r"^p\.toml: cameras: 3 is not"),
        (NODE, 'tiers = ["cloud"]', r"^p\.toml: a\.tier: 'edge' is none of cloud"),
    ],
)
def test_a_mistake_in_a_problem_names_the_file_that_has_it(own: str, part: str, message: str) -> None:
    negative = "<graphml><key id='c' attr.name='cores'/><graph><node id='a'><data key='c'>-1</data></node>"
    texts = {"c.toml": part, "n.graphml": f"{negative}</graph></graphml>"}
    with pytest.raises(ConfigError, match=message):
        documents.problem("p.toml", f'cluster = "c.toml"\n{own}{APPLICATION}', texts.__getitem__)


def test_cameras_of_a_cluster_file_give_way_to_those_of_the_problem() -> None:
    given = '{} = [{{ name = "{}", node = "a", fps = 1 }}]\n'
    part = NODE + 'tiers = ["edge"]\n' + given.format("cameras", "theirs")
    for own, name in ("", "theirs"), (given.format("cameras", "own"), "own"):
        found = documents.problem(
            "p.toml", f'cluster = "c.toml"\n{own}{APPLICATION}', {"c.toml": part}.__getitem__
        )
        assert [each.name for each in found.classes] == [name]
