"""Resemblance and assignment."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from flowedge.vision.overlap import overlaps
from flowedge.vision.tracking.association import assign, resemblance, to_centres, to_corners

BOXES = arrays.arrays(np.float64, st.tuples(st.integers(0, 5), st.just(4)), elements=st.floats(0, 100))


@given(BOXES, BOXES)
def test_resemblance_is_a_share_and_never_above_the_overlap(first: np.ndarray, second: np.ndarray) -> None:
    first, second = (np.hstack([each[:, :2], each[:, :2] + each[:, 2:]]) for each in (first, second))
    both = resemblance(first, second)
    assert both.shape == (len(first), len(second))
    assert ((both >= 0) & (both <= overlaps(first, second) + 1e-12)).all()
    assert both == pytest.approx(resemblance(second, first).T)


@given(BOXES)
def test_corners_and_centres_are_inverse(boxes: np.ndarray) -> None:
    assert to_corners(to_centres(boxes)) == pytest.approx(boxes)


@given(arrays.arrays(np.float64, st.tuples(st.integers(1, 4), st.integers(1, 4)), elements=st.floats(0, 1)))
@settings(deadline=None)
def test_assignment_is_the_best_of_all(similarity: np.ndarray) -> None:
    least = 0.3
    rows, columns = assign(similarity, least)
    assert len(set(rows.tolist())) == len(set(columns.tolist())) == len(rows)
    assert (similarity[rows, columns] >= least).all()
    worth = np.where(similarity >= least, similarity, 0.0)
    wide = worth if worth.shape[0] <= worth.shape[1] else worth.T
    every = itertools.permutations(range(wide.shape[1]), wide.shape[0])
    best = max(sum(wide[n, c] for n, c in enumerate(order)) for order in every)
    assert similarity[rows, columns].sum() == pytest.approx(best)
