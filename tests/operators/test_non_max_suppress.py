"""NonMaxSuppress: what it makes of the parts of a frame."""

from __future__ import annotations

import pytest

from flowedge import ConfigError, Detections, Origin
from flowedge.operators import NonMaxSuppress
from flowedge.values import InvalidValueError
from tests.operators.tile_parts import LEFT, RIGHT, part


def test_the_result_is_of_the_frame():
    one = part(0, LEFT, ((10, 10, 40, 40), 0.5, 0), missing=((0, 0, 5, 5),))
    other = part(1, RIGHT, ((150, 10, 190, 40), 0.75, 1), missing=((5, 0, 9, 5),))
    found = NonMaxSuppress().gather([one, other])
    assert found.origin == Origin("north", index=7, width=200, height=100)
    assert (found.region, found.names) == ((0, 0, 200, 100), ("person", "car"))
    assert found.missing == ((0, 0, 5, 5), (5, 0, 9, 5))
    assert found.boxes.tolist() == [[150, 10, 190, 40], [10, 10, 40, 40]]
    assert (found.scores.tolist(), found.labels) == ([0.75, 0.5], ["car", "person"])


def test_parts_without_objects_give_none():
    found = NonMaxSuppress().gather([part(0, LEFT), part(1, RIGHT)])
    assert len(found) == 0
    assert found.boxes.shape == (0, 4)


def test_one_part_that_looked_at_everything_is_enough():
    found = NonMaxSuppress().gather([part(0, None, ((10, 10, 40, 40), 0.5, 0))])
    assert (found.boxes.tolist(), found.region) == ([[10, 10, 40, 40]], None)


def test_parts_with_other_class_names_are_refused():
    parts = [part(0, LEFT), part(1, RIGHT, names=("cat", "dog"))]
    with pytest.raises(InvalidValueError, match=r"frame 7 of camera north .* \(cat, dog\) and \(person, car\)"):
        NonMaxSuppress().gather(parts)


@pytest.mark.parametrize("overlap", [0, -0.1, 1.5])
def test_an_overlap_outside_its_range_is_refused(overlap):
    with pytest.raises(ConfigError, match=rf"NonMaxSuppress.overlap: {overlap} is not an overlap above 0"):
        NonMaxSuppress(overlap=overlap)


def test_a_metric_of_another_name_is_refused():
    with pytest.raises(ConfigError, match=r"metric: 'giou' is not .*Literal\['iou', 'ios'\]"):
        NonMaxSuppress(metric="giou")


def test_boxes_across_a_tile_edge_are_not_joined():
    parts = [part(0, LEFT, ((50, 40, 120, 60), 0.75, 1)), part(1, RIGHT, ((80, 40, 160, 60), 0.5, 1))]
    assert NonMaxSuppress().gather(parts).boxes.tolist() == [[50, 40, 120, 60], [80, 40, 160, 60]]


def test_it_keeps_the_best_of_any_parts():
    parts = [part(0, None, ((10, 10, 40, 40), 0.5, 0), ((10, 10, 40, 40), 0.25, 1)), part(1, None)]
    assert len(NonMaxSuppress().gather(parts)) == 2
    found = NonMaxSuppress(class_aware=False).gather(parts)
    assert (found.scores.tolist(), found.labels) == ([0.5], ["person"])


def test_attributes_are_those_of_the_surest_box() -> None:
    origin = Origin("north", width=100, height=100)
    parts = [
        Detections(origin, [[10, 10, 50, 50]], [0.6], [0], attributes={"plate": ["AB 1"]}),
        Detections(
            origin,
            [[10, 10, 50, 51], [70, 70, 90, 90]],
            [0.8, 0.7],
            [0, 0],
            attributes={"plate": ["AB 12", "C"]},
        ),
        Detections(origin, [], [], []),
    ]
    assert NonMaxSuppress().gather(parts).attributes["plate"].tolist() == ["AB 12", "C"]


def test_parts_with_other_attributes_are_refused() -> None:
    origin = Origin("north", width=100, height=100)
    parts = [
        Detections(origin, [[10, 10, 50, 50]], [0.6], [0], attributes={"hue": [1]}),
        Detections(origin, [[10, 10, 50, 51]], [0.8], [0], attributes={"hue": ["red"]}),
    ]
    with pytest.raises(InvalidValueError, match="have different attributes"):
        NonMaxSuppress().gather(parts)
