"""Clusters: names, capacities, and the path of least delay."""

from __future__ import annotations

import itertools
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowedge.errors import ConfigError
from flowedge.planner.model.cluster import Cluster, Link, Node

A, B, C = (Node(name, "edge", "pi", cores=4) for name in "abc")


def seconds(cluster: Cluster, path: tuple[int, ...] | None) -> float:
    return float("inf") if path is None else sum(cluster.arcs[arc].delay for arc in path)


def test_the_path_of_least_delay_is_taken_in_both_directions() -> None:
    cluster = Cluster(
        ("edge",), (A, B, C), (Link("a", "b", 1e6, 0.01), Link("b", "c", 1e6, 0.01), Link("a", "c", 1e6, 0.03))
    )
    there = [(cluster.arcs[arc].start, cluster.arcs[arc].end) for arc in cluster.path("a", "c") or ()]
    back = [(cluster.arcs[arc].start, cluster.arcs[arc].end) for arc in cluster.path("c", "a") or ()]
    assert there == [("a", "b"), ("b", "c")]
    assert back == [("c", "b"), ("b", "a")]
    assert cluster.path("a", "a") == ()


def test_of_equal_ways_the_shorter_and_of_parallel_links_the_faster_is_taken() -> None:
    straight = Link("a", "c", 1e6, 0.02)
    cluster = Cluster(("edge",), (A, B, C), (Link("a", "b", 1e6, 0.01), Link("b", "c", 1e6, 0.01), straight))
    assert cluster.path("a", "c") == (4,)
    parallel = Cluster(("edge",), (A, B), (Link("a", "b", 1e6, 0.02), Link("b", "a", 1e6, 0.01)))
    assert seconds(parallel, parallel.path("a", "b")) == 0.01


def test_no_way_is_none_and_without_delay_there_is_one() -> None:
    cluster = Cluster(("edge",), (A, B, C), (Link("a", "b", 1e6),))
    assert cluster.path("a", "c") is None
    assert len(cluster.path("a", "b") or ()) == 1
    assert Cluster(("edge",), (A, B)).path("a", "b") is None
    assert cluster.delays("a")[2] == float("inf")


@given(
    st.lists(
        st.tuples(st.integers(0, 4), st.integers(0, 4), st.integers(0, 50)).filter(
            lambda edge: edge[0] != edge[1]
        ),
        max_size=10,
    )
)
def test_no_way_is_faster(edges: list[tuple[int, int, int]]) -> None:
    nodes = tuple(Node(str(name), "edge", "pi", 1) for name in range(5))
    cluster = Cluster(("edge",), nodes, tuple(Link(str(a), str(b), 1e6, delay / 1000) for a, b, delay in edges))
    least = {(a, b): 0.0 if a == b else float("inf") for a in range(5) for b in range(5)}
    for a, b, delay in edges:
        least[a, b] = least[b, a] = min(least[a, b], delay / 1000)
    for by, a, b in itertools.product(range(5), repeat=3):
        least[a, b] = min(least[a, b], least[a, by] + least[by, b])
    for (a, b), expected in least.items():
        path = cluster.path(str(a), str(b))
        assert seconds(cluster, path) == pytest.approx(expected)
        ends = [str(a), *(cluster.arcs[arc].end for arc in path or ())]
        assert path is None or ends[-1] == str(b)
        assert [cluster.arcs[arc].start for arc in path or ()] == ends[: len(path or ())]


@pytest.mark.parametrize(
    ("parts", "sentence"),
    [
        ({"nodes": ()}, "nodes: a cluster needs at least one node"),
        ({"nodes": (A, A)}, "nodes: a is there twice"),
        ({"tiers": ("edge", "edge")}, "tiers: edge is there twice"),
        ({"nodes": (Node("x", "fog", "pi", 1),)}, "x.tier: 'fog' is none of edge"),
        ({"nodes": (Node("x", "edge", "pi", -1),)}, "x.cores: -1 is not a number from 0"),
        ({"nodes": (Node("x", "edge", "pi", 1, gpu=float("nan")),)}, "x.gpu: nan is not a number from 0"),
        ({"links": (Link("a", "x", 1e6),)}, "link a - x: there is no node 'x'"),
        ({"links": (Link("a", "b", 0.0),)}, "link a - b: a bandwidth above 0"),
        (
            {"links": (Link("a", "b", 1e6, -0.1),)},
            "link a - b: a bandwidth above 0, a delay and a deviation from 0",
        ),
    ],
)
def test_a_cluster_that_cannot_be_is_refused(parts: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(sentence)):
        Cluster(**{"tiers": ("edge",), "nodes": (A, B)} | parts)
