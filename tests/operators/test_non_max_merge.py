"""NonMaxMerge: what it makes of the parts of a frame."""

from __future__ import annotations

import numpy as np
import pytest

from flowedge import ConfigError, Detections, Origin
from flowedge.operators import NonMaxMerge, Slice
from flowedge.testing import frames
from flowedge.values import InvalidValueError
from tests.operators.tile_parts import LEFT, RIGHT, part


def test_the_result_is_of_the_frame():
    one = part(0, LEFT, ((10, 10, 40, 40), 0.5, 0), missing=((0, 0, 5, 5),))
    other = part(1, RIGHT, ((150, 10, 190, 40), 0.75, 1), missing=((5, 0, 9, 5),))
    found = NonMaxMerge().gather([one, other])
    assert found.origin == Origin("north", index=7, width=200, height=100)
    assert (found.region, found.names) == ((0, 0, 200, 100), ("person", "car"))
    assert found.missing == ((0, 0, 5, 5), (5, 0, 9, 5))
    assert found.boxes.tolist() == [[150, 10, 190, 40], [10, 10, 40, 40]]
    assert (found.scores.tolist(), found.labels) == ([0.75, 0.5], ["car", "person"])


def test_parts_without_objects_give_none():
    found = NonMaxMerge().gather([part(0, LEFT), part(1, RIGHT)])
    assert len(found) == 0
    assert found.boxes.shape == (0, 4)


def test_one_part_that_looked_at_everything_is_enough():
    found = NonMaxMerge().gather([part(0, None, ((10, 10, 40, 40), 0.5, 0))])
    assert (found.boxes.tolist(), found.region) == ([[10, 10, 40, 40]], None)


def test_parts_with_other_class_names_are_refused():
    parts = [part(0, LEFT), part(1, RIGHT, names=("cat", "dog"))]
    with pytest.raises(InvalidValueError, match=r"frame 7 of camera north .* \(cat, dog\) and \(person, car\)"):
        NonMaxMerge().gather(parts)


@pytest.mark.parametrize("overlap", [0, -0.1, 1.5])
def test_an_overlap_outside_its_range_is_refused(overlap):
    with pytest.raises(ConfigError, match=rf"NonMaxMerge.overlap: {overlap} is not an overlap above 0"):
        NonMaxMerge(overlap=overlap)


def test_a_metric_of_another_name_is_refused():
    with pytest.raises(ConfigError, match=r"metric: 'giou' is not .*Literal\['iou', 'ios'\]"):
        NonMaxMerge(metric="giou")


def test_an_object_across_a_tile_edge_is_joined():
    parts = [part(0, LEFT, ((50, 40, 120, 60), 0.75, 1)), part(1, RIGHT, ((80, 40, 160, 60), 0.5, 1))]
    assert NonMaxMerge().gather(parts).boxes.tolist() == [[50, 40, 160, 60]]


def test_a_part_without_a_region_saw_the_whole_frame():
    parts = [part(0, LEFT, ((90, 40, 120, 60), 0.75, 1)), part(1, None, ((90, 40, 160, 60), 0.5, 1))]
    found = NonMaxMerge().gather(parts)
    assert (found.boxes.tolist(), found.scores.tolist(), found.region) == ([[90, 40, 160, 60]], [0.75], None)


@pytest.mark.parametrize("tiles", [1, 2, 4, 6, 12])
@pytest.mark.parametrize("whole_frame", [True, False])
def test_what_a_perfect_detector_finds_in_slices_is_what_there_is(tiles, whole_frame):
    [frame] = frames(1, 640, 480)
    truth = np.array([[x, y, x + 40, y + 50] for x in range(5, 580, 70) for y in range(5, 420, 80)], np.float32)
    parts = []
    for n, tile in enumerate(Slice(tiles, overlap=0.2, whole_frame=whole_frame).split(frame)):
        left, top, right, bottom = tile.region
        seen = truth.clip([left, top, left, top], [right, bottom, right, bottom])
        seen = seen[((seen[:, 2:] - seen[:, :2]) >= 8).all(axis=1)]
        scores = np.linspace(0.5, 0.9, len(seen)) + n / 1000
        parts.append(Detections(tile.origin, seen, scores, [0] * len(seen), ("car",), region=tile.region))
    found = NonMaxMerge().gather(parts).boxes.round(3)  # a mean of equal boxes is one only nearly
    assert sorted(found.tolist()) == sorted(truth.tolist())


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
    assert NonMaxMerge().gather(parts).attributes["plate"].tolist() == ["AB 12", "C"]


def test_parts_with_other_attributes_are_refused() -> None:
    origin = Origin("north", width=100, height=100)
    parts = [
        Detections(origin, [[10, 10, 50, 50]], [0.6], [0], attributes={"hue": [1]}),
        Detections(origin, [[10, 10, 50, 51]], [0.8], [0], attributes={"hue": ["red"]}),
    ]
    with pytest.raises(InvalidValueError, match="have different attributes"):
        NonMaxMerge().gather(parts)
