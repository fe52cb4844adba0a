"""NonMaxMerge: what it makes of the parts of a frame."""

from __future__ import annotations

import numpy as np
import pytest

from flowedge import Detections
from flowedge.operators import NonMaxMerge, Slice
from flowedge.testing import frames
from tests.operators.tile_parts import LEFT, RIGHT, MergesParts, part


class TestNonMaxMerge(MergesParts):
    operator = NonMaxMerge


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
