"""Mixed-integer linear programmes, built row by row and solved by HiGHS.

>>> model = IntegerProgramme()
>>> x, y = model.variables(2, cost=-1.0, upper=3.0, integer=True)
>>> model.row([(x, 1.0), (y, 2.0)], upper=4.5)
>>> solution = model.solve()
>>> solution.state, float(solution.value), [float(solution.values[each]) for each in (x, y)]
('optimal', -3.0, [3.0, 0.0])
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Term: TypeAlias = tuple[int, float]
"""A variable and its coefficient."""


@dataclass(frozen=True)
class Solution:
    """`state` is "unknown" where time ran out; then `values` may be there all the same, and `bound` holds."""

    state: Literal["optimal", "infeasible", "unknown"]
    values: NDArray[np.float64] | None = None
    value: float = math.inf
    bound: float = -math.inf


_NEGLIGIBLE = 1e-7  # of the largest cost


def scaled(costs: ArrayLike) -> tuple[NDArray[np.float64], float]:
    """Costs for HiGHS, the largest from 1 to 2, and the unit that they are in.

    HiGHS' tolerances are absolute, and where costs are many orders of magnitude apart it takes the objective
    for a multiple of something and rounds its bound up to nonsense. So costs above 0 that are far below the
    largest are left out, which can only lower the optimum as variables are 0 or more. Units are powers of two,
    which do not round.

    >>> costs, unit = scaled([3.0, 5.0, 1e-9])
    >>> costs.tolist(), unit
    ([0.75, 1.25, 0.0], 4.0)
    """
    values = np.asarray(costs, np.float64)
    largest = float(np.abs(values).max(initial=0.0))
    if largest == 0:
        return values, 1.0
    unit = 2.0 ** math.floor(math.log2(largest))
    negligible = (values > 0) & (values < _NEGLIGIBLE * largest)
    return np.where(negligible, 0.0, values / unit), unit


@dataclass
class IntegerProgramme:
    """Minimises the cost of its variables, which are 0 or more, within its rows."""

    costs: list[float] = field(default_factory=list)
    uppers: list[float] = field(default_factory=list)
    integers: list[bool] = field(default_factory=list)
    _rows: list[int] = field(default_factory=list)
    _columns: list[int] = field(default_factory=list)
    _values: list[float] = field(default_factory=list)
    _lower: list[float] = field(default_factory=list)
    _upper: list[float] = field(default_factory=list)

    def variable(self, *, cost: float = 0.0, upper: float = math.inf, integer: bool = False) -> int:
        """A new variable from 0 to `upper`."""
        self.costs.append(cost)
        self.uppers.append(upper)
        self.integers.append(integer)
        return len(self.costs) - 1

    def variables(
        self, count: int, *, cost: float = 0.0, upper: float = math.inf, integer: bool = False
    ) -> range:
        """Several equal variables."""
        first = len(self.costs)
        for _ in range(count):
            self.variable(cost=cost, upper=upper, integer=integer)
        return range(first, first + count)

    def row(self, terms: Iterable[Term], *, lower: float = -math.inf, upper: float = math.inf) -> None:
        """lower <= sum of the terms <= upper; the terms of one variable add up."""
        for column, value in terms:
            self._rows.append(len(self._lower))
            self._columns.append(column)
            self._values.append(value)
        self._lower.append(lower)
        self._upper.append(upper)

    def work(self, relaxed: NDArray[np.float64]) -> float:
        """How hard the programme is, about, by the values of its linear relaxation.

        Nonzeros x square root of the number of integer variables that are fractional. Of 41 compact programmes
        of random problems (`tools.planner_instances`), those up to 3e4 took HiGHS 0.6 s at most; above, it took
        up to half a minute before its first branch.
        """
        values = relaxed[np.array(self.integers, bool)]
        return len(self._values) * math.sqrt(np.sum(np.abs(values - np.round(values)) > 1e-6))

    def solve(
        self,
        *,
        time_limit: float = math.inf,
        node_limit: int | None = None,
        gap: float = 1e-5,
        relaxed: bool = False,
    ) -> Solution:
        """The optimum, within a share `gap` of it; `relaxed` lets every variable be fractional.

        "unknown" where the solver gives up, after `time_limit` seconds, which depends on what else the machine
        does, or `node_limit` nodes of branch and bound, which does not. Raises `ArithmeticError` where the cost
        has no lower limit.
        """
        from scipy.optimize import Bounds, LinearConstraint, milp
        from scipy.sparse import csr_array

        if not self.costs:
            feasible = all(low <= 0 <= high for low, high in zip(self._lower, self._upper, strict=True))
            return Solution("optimal", np.zeros(0), 0.0, 0.0) if feasible else Solution("infeasible")
        shape = len(self._lower), len(self.costs)
        matrix = csr_array((self._values, (self._rows, self._columns)), shape=shape)
        costs, unit = scaled(self.costs)
        result = milp(
            costs,
            integrality=None if relaxed else np.array(self.integers, int),
            bounds=Bounds(0.0, np.array(self.uppers)),
            constraints=LinearConstraint(matrix, self._lower, self._upper) if self._lower else None,
            options={"mip_rel_gap": gap}
            | ({"time_limit": time_limit} if time_limit < math.inf else {})
            | ({} if node_limit is None else {"node_limit": node_limit}),
        )
        if result.status == 2:
            return Solution("infeasible")
        if result.status == 3:
            raise ArithmeticError(f"HiGHS: {result.message}")  # unbounded: the model is wrong
        bound = result.mip_dual_bound if result.mip_dual_bound is not None else result.fun
        return Solution(
            "optimal" if result.status == 0 else "unknown",
            result.x,
            math.inf if result.x is None else float(np.dot(self.costs, result.x)),
            -math.inf if bound is None else unit * bound,
        )
