"""The join of boxes that several views of a picture show, by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowedge.vision.tile_merging import join

LEFT, RIGHT, WHOLE = (0, 0, 120, 100), (80, 0, 200, 100), (0, 0, 200, 100)


def joined(*found, threshold=0.5, class_aware=True, views=(LEFT, RIGHT, WHOLE)):
    """Join rows of (view, box, score[, class]) and give back rows of (box, score, class)."""
    boxes = np.array([row[1] for row in found], np.float32).reshape(-1, 4)
    scores = np.array([row[2] for row in found], np.float32)
    classes = np.array([row[3] if len(row) > 3 else 0 for row in found], np.int32)
    place = np.array([views.index(row[0]) for row in found], np.intp)
    regions = np.array(views, np.float64)
    result = join(boxes, scores, classes, place, regions, threshold, class_aware=class_aware)
    assert len(result.objects) == len(found)
    columns = result.boxes.tolist(), result.scores.round(3).tolist(), result.classes.tolist()
    return [(tuple(box), score, label) for box, score, label in zip(*columns, strict=True)]


def test_nothing_stays_nothing():
    assert joined() == []


def test_one_view_keeps_all_it_found_best_first():
    close = [(WHOLE, (0, 0, 40, 40), 0.5), (WHOLE, (1, 0, 41, 40), 0.75), (WHOLE, (0, 0, 40, 40), 0.25)]
    assert [row[1] for row in joined(*close)] == [0.75, 0.5, 0.25]


def test_an_object_seen_whole_twice_is_the_mean_by_score():
    twice = [(LEFT, (84, 20, 104, 60), 0.75), (RIGHT, (88, 20, 108, 60), 0.25)]
    assert joined(*twice) == [((85, 20, 105, 60), 0.75, 0)]


def test_a_piece_goes_to_the_whole_even_with_a_better_score():
    half = [(LEFT, (90, 20, 120, 60), 0.875), (WHOLE, (90, 20, 150, 60), 0.5)]
    assert joined(*half) == [((90, 20, 150, 60), 0.875, 0)]


def test_a_sliver_goes_to_the_whole_that_the_neighbouring_tile_saw():
    sliver = [(LEFT, (110, 20, 119.5, 60), 0.5), (RIGHT, (110, 20, 170, 60), 0.75)]
    assert joined(*sliver) == [((110, 20, 170, 60), 0.75, 0)]


def test_a_neighbour_does_not_swallow_a_piece():
    # The piece at the edge lies wholly within the man before it, but is a tenth of what the tile shows of him.
    crowd = [(WHOLE, (60, 20, 130, 90), 0.75), (LEFT, (60, 20, 120, 90), 0.5), (LEFT, (112, 30, 120, 80), 0.25)]
    assert joined(*crowd) == [((60, 20, 130, 90), 0.75, 0), ((112, 30, 120, 80), 0.25, 0)]


def test_two_who_stand_close_stay_two():
    # In the whole frame they are one; the tile tells them apart, and each takes part in one object only.
    close = [(WHOLE, (20, 20, 50, 80), 0.75), (LEFT, (20, 20, 48, 80), 0.5), (LEFT, (28, 20, 52, 80), 0.625)]
    assert [row[1] for row in joined(*close)] == [0.75, 0.625]


def test_pieces_of_what_nobody_saw_whole_are_joined():
    pieces = [(LEFT, (50, 40, 119.5, 60), 0.5), (RIGHT, (80.5, 40, 160, 60), 0.75)]
    assert joined(*pieces, views=(LEFT, RIGHT)) == [((50, 40, 160, 60), 0.75, 0)]


def test_pieces_at_different_heights_are_different_objects():
    pieces = [(LEFT, (50, 10, 120, 30), 0.5), (RIGHT, (80, 40, 160, 60), 0.75)]
    assert len(joined(*pieces, views=(LEFT, RIGHT))) == 2


def test_pieces_that_end_before_the_shared_strip_are_different_objects():
    apart = [(LEFT, (50, 40, 85, 60), 0.5), (RIGHT, (110, 40, 160, 60), 0.75)]
    assert len(joined(*apart, views=(LEFT, RIGHT))) == 2


def test_pieces_join_over_a_row_of_tiles():
    row = ((0, 0, 100, 90), (80, 0, 180, 90), (160, 0, 260, 90))
    lorry = [
        (row[0], (20, 30, 100, 60), 0.75),
        (row[1], (80, 30, 180, 60), 0.25),
        (row[2], (160, 30, 240, 60), 0.5),
    ]
    assert joined(*lorry, views=row) == [((20, 30, 240, 60), 0.75, 0)]


def test_pieces_join_around_a_corner_of_four_tiles():
    tiles = ((0, 0, 60, 60), (40, 0, 100, 60), (0, 40, 60, 100), (40, 40, 100, 100))
    box = np.array((20, 25, 85, 75))
    quarters = []
    for n, (left, top, right, bottom) in enumerate(tiles):
        piece = np.maximum(box[:2], (left, top)), np.minimum(box[2:], (right, bottom))
        quarters.append((tiles[n], np.concatenate(piece), 0.25 + n / 8))
    assert joined(*quarters, views=tiles) == [((20, 25, 85, 75), 0.625, 0)]


def test_the_edge_of_the_picture_cuts_nothing():
    # Both end at the left edge of the picture: two whole views, their mean.
    twice = [(LEFT, (0, 20, 30, 60), 0.5), (WHOLE, (0, 20, 34, 60), 0.5)]
    assert joined(*twice) == [((0, 20, 32, 60), 0.5, 0)]


def test_classes_stay_apart_unless_asked():
    both = [(LEFT, (20, 20, 40, 60), 0.5, 1), (WHOLE, (20, 20, 40, 60), 0.75, 2)]
    assert joined(*both) == [((20, 20, 40, 60), 0.75, 2), ((20, 20, 40, 60), 0.5, 1)]
    assert joined(*both, class_aware=False) == [((20, 20, 40, 60), 0.75, 2)]


def test_boxes_without_area_stay_as_they_are():
    odd = [(LEFT, (90, 20, 90, 60), 0.5), (RIGHT, (90, 20, 90, 60), 0.25), (WHOLE, (90, 20, 90, 60), 0.0)]
    assert [row[0] for row in joined(*odd)] == [(90, 20, 90, 60)] * 3


@pytest.mark.parametrize("score", [0.0, 1e-40])
def test_scores_of_nothing_weigh_alike(score):
    [(box, _, _)] = joined((LEFT, (84, 20, 104, 60), score), (RIGHT, (88, 20, 108, 60), score))
    assert box == pytest.approx((86, 20, 106, 60))


@st.composite
def sightings(draw):
    """Objects of one picture as three views see them, each view's piece of each object with its own score."""
    count = draw(st.integers(1, 5))
    heights = draw(st.permutations(range(5)))
    ends = st.tuples(st.integers(0, 150), st.integers(20, 120))
    rows = []
    for n in range(count):
        left, width = draw(ends)
        box = (left, heights[n] * 20 + 1, min(left + width, 200), heights[n] * 20 + 19)
        for view in (LEFT, RIGHT, WHOLE):
            piece = (max(box[0], view[0]), box[1], min(box[2], view[2]), box[3])
            if piece[2] - piece[0] > 4:
                rows.append((view, piece, box))
    scores = draw(st.permutations([(n + 1) / 32 for n in range(len(rows))]))
    return [(view, piece, score) for (view, piece, _), score in zip(rows, scores, strict=True)], rows


@given(sightings())
@settings(deadline=None)
def test_perfect_sightings_give_each_object_once(seen):
    found, rows = seen
    expected = sorted({box for _, _, box in rows})
    assert sorted(tuple(np.round(box, 3)) for box, _, _ in joined(*found)) == expected


@given(sightings(), st.randoms())
@settings(deadline=None)
def test_the_order_in_which_boxes_come_changes_nothing(seen, random):
    found, _ = seen
    shuffled = random.sample(found, len(found))
    assert joined(*shuffled) == joined(*found)
