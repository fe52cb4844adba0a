"""Linear programmes: what HiGHS is told and what comes back."""

from __future__ import annotations

import numpy as np
import pytest

from flowedge.planner.exact.milp import IntegerProgramme


def knapsack() -> IntegerProgramme:
    """The best of three things that weigh 4, 3 and 2 and may weigh 5 together: the last two, worth 7."""
    model = IntegerProgramme()
    things = [model.variable(cost=-worth, upper=1.0, integer=True) for worth in (5.0, 4.0, 3.0)]
    model.row(list(zip(things, (4.0, 3.0, 2.0), strict=True)), upper=5.0)
    return model


def test_integers_and_their_relaxation() -> None:
    solution = knapsack().solve()
    assert (solution.state, solution.value, solution.bound) == ("optimal", -7.0, -7.0)
    assert solution.values is not None
    assert solution.values.round().tolist() == [0, 1, 1]
    relaxed = knapsack().solve(relaxed=True)
    assert relaxed.value == relaxed.bound == pytest.approx(-7.0)
    tight = knapsack()
    tight.row([(0, 1.0)], lower=0.5)
    assert tight.solve().value == -5.0
    assert tight.solve(relaxed=True).value == pytest.approx(-2.5 - 3 - 4 / 3)


def test_terms_of_one_variable_add_up() -> None:
    model = IntegerProgramme()
    x = model.variable(cost=-1.0)
    model.row([(x, 1.0), (x, 1.0)], upper=4.0)
    assert model.solve().value == -2.0


def test_what_cannot_be_is_infeasible() -> None:
    model = knapsack()
    model.row([(0, 1.0), (1, 1.0)], lower=2.0)
    assert model.solve().state == "infeasible"
    assert model.solve(relaxed=True).state == "infeasible"


def test_rows_without_variables() -> None:
    assert IntegerProgramme().solve().value == 0.0
    empty = IntegerProgramme()
    empty.row([], lower=1.0)
    assert empty.solve().state == "infeasible"
    one = knapsack()
    one.row([], lower=1.0, upper=1.0)
    assert one.solve().state == "infeasible"


def test_the_work_is_none_where_the_relaxation_is_whole() -> None:
    model = knapsack()
    assert model.work(np.array([0.0, 1.0, 1.0])) == 0
    assert model.work(np.array([0.5, 1.0, 0.0])) == 3  # nonzeros, and one fraction


def test_bounds_hold_where_costs_are_tiny_or_far_apart() -> None:
    # 3 units at 1e-8 each, and one that costs 1.
    model = IntegerProgramme()
    cheap = model.variable(cost=1e-8, upper=1e8, integer=True)
    dear = model.variable(cost=1.0, upper=1.0, integer=True)
    model.row([(cheap, 1.0)], lower=2.5)
    model.row([(dear, 1.0)], lower=1.0)
    solution = model.solve()
    assert 1 - 1e-6 <= solution.bound <= solution.value
    assert solution.value >= 1 + 3e-8 - 1e-12
