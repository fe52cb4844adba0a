"""The geometry of faces: landmarks brought to where a network is used to find them."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from flowedge.vision.faces import alignments

# InsightFace's template, as its source has it.
TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]],
    np.float32,
)


def placed(turn: float, scale: float, x: float, y: float) -> NDArray[np.float32]:
    """The template turned (radians), scaled and moved."""
    way = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    return (TEMPLATE @ way * scale + (x, y)).astype(np.float32)


@settings(deadline=None)
@given(turn=st.floats(-3.1, 3.1), scale=st.floats(0.05, 20), x=st.floats(-2000, 2000), y=st.floats(-2000, 2000))
def test_an_alignment_undoes_turn_scale_and_move(turn: float, scale: float, x: float, y: float) -> None:
    points = placed(turn, scale, x, y)
    [matrix] = alignments(points[None])
    np.testing.assert_allclose(points @ matrix[:, :2].T + matrix[:, 2], TEMPLATE, atol=0.1)


@settings(deadline=None)
@given(noise=st.lists(st.floats(-8, 8), min_size=10, max_size=10), more=st.lists(st.floats(-1, 1), min_size=4))
def test_no_other_similarity_comes_nearer(noise: list[float], more: list[float]) -> None:
    points = TEMPLATE + np.array(noise, np.float32).reshape(5, 2)
    [matrix] = alignments(points[None])

    def far(a: float, b: float, x: float, y: float) -> float:
        moved = points.astype(float) @ np.array([[a, -b], [b, a]]).T + (x, y)
        return float(((moved - TEMPLATE) ** 2).sum())

    best = matrix[0, 0], matrix[1, 0], matrix[0, 2], matrix[1, 2]
    other = [value + delta for value, delta in zip(best, more, strict=False)]
    assert far(*best) <= far(*other) + 1e-3


def test_landmarks_in_one_point_break_nothing() -> None:
    assert np.isfinite(alignments(np.ones((1, 5, 2), np.float32))).all()
    assert alignments(np.empty((0, 5, 2), np.float32)).shape == (0, 2, 3)
