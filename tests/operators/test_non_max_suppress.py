"""NonMaxSuppress: what it makes of the parts of a frame."""

from __future__ import annotations

from flowedge.operators import NonMaxSuppress
from tests.operators.tile_parts import LEFT, RIGHT, MergesParts, part


class TestNonMaxSuppress(MergesParts):
    operator = NonMaxSuppress


def test_boxes_across_a_tile_edge_are_not_joined():
    parts = [part(0, LEFT, ((50, 40, 120, 60), 0.75, 1)), part(1, RIGHT, ((80, 40, 160, 60), 0.5, 1))]
    assert NonMaxSuppress().gather(parts).boxes.tolist() == [[50, 40, 120, 60], [80, 40, 160, 60]]


def test_it_keeps_the_best_of_any_parts():
    parts = [part(0, None, ((10, 10, 40, 40), 0.5, 0), ((10, 10, 40, 40), 0.25, 1)), part(1, None)]
    assert len(NonMaxSuppress().gather(parts)) == 2
    found = NonMaxSuppress(class_aware=False).gather(parts)
    assert (found.scores.tolist(), found.labels) == ([0.5], ["person"])
