"""Couplings: known functions are found again, errors by hand, the surface is one and is careful."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowedge.errors import ConfigError
from flowedge.planner.papers.roma.couplings import (
    Linear,
    Points,
    Surface,
    errors,
    linear,
    perceptron,
    support_vectors,
    surface,
    tabulated,
)

# Figure 5a of the paper, as its text tells it: P2 (0.5 core, 4 Mbit/s) 71 %, P1, P3, P4, P5 83 %.
PAPER = Points([4, 10, 4, 10, 2], [0.5, 0.5, 1, 1, 1], [0.71, 0.83, 0.83, 0.83, 0.83])

pairs = st.tuples(st.floats(0.1, 10), st.floats(0.1, 16), st.floats(0, 1))


def test_what_nobody_needs_is_left_out() -> None:
    net, com, performance = PAPER.efficient().columns
    assert set(zip(net, com, performance, strict=True)) == {(4, 0.5, 0.71), (10, 0.5, 0.83), (2, 1, 0.83)}


def test_performance_within_resources() -> None:
    assert PAPER.reached(10, 0.5) == 0.83
    assert PAPER.reached(4, 0.75) == 0.71
    assert PAPER.reached(1, 16) == 0
    assert PAPER.grid([2, 4], [0.5, 1]).columns[2].tolist() == [0, 0.83, 0.71, 0.83]


def test_points_must_pair_up() -> None:
    with pytest.raises(ConfigError, match="as many values of net, com and performance"):
        Points([1, 2], [1], [0.5])


def test_a_surface_does_not_contradict_the_points_as_the_papers_two_functions_do() -> None:
    # Its f(10 Mbit/s, 80 %) = 0.75 core, although 0.5 core reaches 83 % there.
    fitted = surface(PAPER)
    assert fitted.needed_com([10.0], [0.8])[0] <= 0.5 + 1e-6
    assert fitted.needed_net([0.5], [0.71])[0] <= 4 + 1e-6


def test_a_surface_of_planes_is_found_again_with_few_planes() -> None:
    true = Surface(np.array([[0.3, 0.1, 0.0], [0.0, 0.05, 0.5], [0.0, 0.0, 0.9]]))
    net, com = (each.ravel() for each in np.meshgrid(np.linspace(0, 4, 7), np.linspace(0, 12, 7)))
    fitted = surface(Points(net, com, true.performance(net, com)), quantile=0.5)
    assert fitted.performance(net, com) == pytest.approx(true.performance(net, com), abs=1e-6)
    assert len(fitted.planes) < 20


def test_between_points_a_surface_promises_no_more_than_their_mixture() -> None:
    # 0.8 takes 0.9 cores: less than that, and it is a mixture of 0.7 and 0.8.
    points = Points([1, 1, 1], [0.1, 0.3, 0.9], [0.5, 0.7, 0.8])
    fitted = surface(points)
    assert fitted.performance([1, 1, 2], [0.3, 0.6, 2]) == pytest.approx([0.7, 0.75, 0.8])
    assert fitted.needed_com([1.0], [0.75])[0] == pytest.approx(0.6)


@given(st.lists(pairs, min_size=2, max_size=12), st.floats(0.05, 0.5))
@settings(max_examples=30, deadline=None)
def test_a_surface_is_concave_rising_and_promises_too_much_for_few_points_only(
    given_points: list[tuple[float, float, float]], quantile: float
) -> None:
    net, com, performance = np.array(given_points).T
    fitted = surface(Points(net, com, performance), quantile=quantile)
    assert (fitted.planes[:, :2] >= -1e-9).all()
    broken = fitted.performance(net, com) > performance + 1e-5
    assert broken.sum() <= quantile * len(performance) + 1e-9
    more = fitted.performance(net + 1, com + 1)
    assert (more >= fitted.performance(net, com) - 1e-9).all()


@given(st.floats(0.1, 10), st.floats(0.1, 16), st.floats(0, 1))
@settings(max_examples=50, deadline=None)
def test_what_a_surface_needs_is_just_enough(net: float, com: float, wanted: float) -> None:
    fitted = Surface(np.array([[0.1, 0.02, 0.0], [0.01, 0.05, 0.2]]))
    for needed, at in ((fitted.needed_com([net], [wanted])[0], 0), (fitted.needed_net([com], [wanted])[0], 1)):
        reached = fitted.performance(*(([net], [needed]) if at == 0 else ([needed], [com])))[0]
        assert reached >= wanted - 1e-6
        assert needed == 0 or reached == pytest.approx(wanted, abs=1e-6)


def test_no_compute_makes_up_for_a_network_that_nothing_passes() -> None:
    capped = Surface(np.array([[0.1, 0.0, 0.0]]))
    assert capped.needed_com([1.0], [0.5])[0] == np.inf


def test_what_two_couplings_allow_is_the_stricter_one() -> None:
    allowed = tabulated((Linear(-1, 10, 0), Linear(0, 5, 0)), [1, 4], [2, 5], [0.2, 0.4, 0.8])
    assert allowed is not None
    assert set(zip(*(each.tolist() for each in allowed.columns), strict=True)) == {
        (1, 2, 0.2), (1, 5, 0.2), (4, 2, 0.4), (4, 5, 0.8)
    }  # fmt: skip
    assert tabulated((Linear(0, 0, 9), Linear(0, 0, 0)), [1], [1], [0.5]) is None


def test_linear_is_the_least_squares() -> None:
    other, performance = np.array([0.0, 1, 2, 3]), np.array([0.1, 0.9, 0.4, 0.5])
    fitted = linear(other, performance, 2 * other - 3 * performance + 1)
    assert (fitted.slope, fitted.price, fitted.constant) == pytest.approx((2, -3, 1))


def test_errors_by_hand() -> None:
    found = errors(Linear(1, 0, 0), [1, 2, 3], [0, 0, 0], [1, 4, 0])
    assert (found.mae, found.mse, found.rmse) == pytest.approx((5 / 3, 13 / 3, (13 / 3) ** 0.5))


@pytest.mark.parametrize("fit", [support_vectors, perceptron])
def test_regressors_of_table_1_fit_a_curve_better_than_a_line(fit) -> None:  # type: ignore[no-untyped-def]
    pytest.importorskip("sklearn", reason='needs the extra "papers"')
    other, performance = (each.ravel() for each in np.meshgrid(np.linspace(0.1, 1, 6), np.linspace(0.1, 1, 6)))
    needed = 4 * performance**3 / other**0.5
    line = errors(linear(other, performance, needed), other, performance, needed)
    assert errors(fit(other, performance, needed), other, performance, needed).rmse < line.rmse
