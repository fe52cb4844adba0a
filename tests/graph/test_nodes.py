"""The data that a graph is made of."""

from __future__ import annotations

from flowedge.graph.nodes import Half, Output, Pair, described, pairs_of, steps_of

INNER = Pair(Output("b"), Output("a"))
WIRE = Pair(Output("a"), Half(INNER, 1))


def test_a_wire_in_words() -> None:
    assert described(WIRE) == "join(a, join(b, a)[1])"
    assert described(None) == "nothing"


def test_the_steps_of_a_wire_are_named_once_from_left_to_right() -> None:
    assert steps_of(WIRE) == ("a", "b")
    assert steps_of(INNER) == ("b", "a")


def test_the_joins_of_a_wire_come_from_outside_in() -> None:
    assert list(pairs_of(WIRE)) == [WIRE, INNER]
    assert list(pairs_of(Output("a"))) == []
