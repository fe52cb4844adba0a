"""Where live frames must be let through whole, for graphs of every shape."""

from __future__ import annotations

from flowedge import Graph, Stream, join, unzip
from flowedge.runtime.regions import Region, regions
from tests.runtime.fake_steps import Apply, Collect, Late, Play, Tiles, Together, events, passed


def began() -> tuple[Graph, Stream]:
    graph = Graph("test")
    return graph, graph.source(Play({"north": "test://"}, events(0), name="source")) >> Apply(passed, name="f")


def step(name: str) -> Apply:
    return Apply(passed, name=name)


def only(graph: Graph) -> Region:
    (region,) = regions(graph)
    return region


def test_a_straight_line_has_none():
    graph, f = began()
    f >> step("a") >> Collect()
    assert regions(graph) == []


def test_a_fork_that_never_meets_again_has_none():
    graph, f = began()
    f >> step("a") >> Collect(name="one")
    f >> step("b") >> Collect(name="two")
    assert regions(graph) == []


def test_a_direct_branch_needs_none():
    graph, f = began()
    join(f, f >> step("a") >> step("b")) >> Collect()
    assert regions(graph) == []


def test_the_two_halves_of_a_pair_need_none():
    graph, f = began()
    left, right = unzip(join(f, f >> step("a")))
    join(right, left) >> Collect()
    assert regions(graph) == []


def test_a_split_to_its_gather():
    graph, f = began()
    f >> Tiles() >> step("a") >> step("b") >> Together(passed) >> Collect()
    region = only(graph)
    assert region == Region(frozenset({"Tiles", "a", "b"}), frozenset({"Together"}))
    assert region.fork(graph) == "f"
    assert region.depth(graph) == 2


def test_a_split_with_two_gathers_is_left_by_both():
    graph, f = began()
    tiles = f >> Tiles()
    tiles >> step("a") >> Together(passed, name="one") >> Collect(name="sink1")
    tiles >> step("b") >> Together(passed, name="two") >> Collect(name="sink2")
    assert only(graph).exits == {"one", "two"}


def test_a_diamond_is_left_where_its_branches_meet():
    graph, f = began()
    join(f >> step("a"), f >> step("b") >> step("c")) >> Collect()
    region = only(graph)
    assert region == Region(frozenset({"a", "b", "c"}), frozenset({"Collect"}))
    assert [node.name for node in region.heads(graph)] == ["a", "b"]
    assert region.fork(graph) == "f"
    assert region.depth(graph) == 2


def test_a_diamond_in_a_diamond_is_part_of_the_outer():
    graph, f = began()
    a = f >> step("a")
    inner = join(a >> step("b"), a >> step("c")) >> step("d")
    join(inner, f >> step("e")) >> Collect()
    assert only(graph) == Region(frozenset("abcde"), frozenset({"Collect"}))


def test_a_split_in_a_branch_of_a_diamond_is_part_of_it():
    graph, f = began()
    tiled = f >> Tiles() >> step("a") >> Together(passed)
    join(tiled, f >> step("b")) >> Collect()
    region = only(graph)
    assert region.steps == {"Tiles", "a", "Together", "b"}
    assert region.exits == {"Collect"}


def test_diamonds_that_share_a_branch_are_one():
    graph, f = began()
    a, b, c = (f >> step(name) for name in "abc")
    join(a, b) >> Collect(name="one")
    join(b, c) >> Collect(name="two")
    assert only(graph) == Region(frozenset("abc"), frozenset({"one", "two"}))


def test_diamonds_one_after_the_other_are_two():
    graph, f = began()
    d = join(f >> step("a"), f >> step("b")) >> step("d")
    join(d >> step("x"), d >> step("y")) >> Collect()
    first, second = regions(graph)
    assert (first.steps, first.exits, first.fork(graph)) == (frozenset("ab"), frozenset("d"), "f")
    assert (second.steps, second.exits, second.fork(graph)) == (frozenset("xy"), frozenset({"Collect"}), "d")


def test_a_join_of_three_branches():
    graph, f = began()
    a, b, c = (f >> step(name) for name in "abc")
    join(join(a, b), c) >> Collect()
    assert only(graph) == Region(frozenset("abc"), frozenset({"Collect"}))


def test_a_step_that_keeps_frames_back_makes_no_region():
    graph, f = began()
    join(f >> step("a"), f >> Late(5)) >> Collect()
    assert regions(graph) == []


def test_a_diamond_may_begin_at_the_source():
    graph = Graph("test")
    source = graph.source(Play({"north": "test://"}, events(0), name="source"))
    join(source >> step("a"), source >> step("b")) >> Collect()
    assert only(graph).fork(graph) == "source"
