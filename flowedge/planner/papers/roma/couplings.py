"""How the resources of an application depend on each other at equal performance: ROMA's couplings.

Gholami et al. 2021, "ROMA: Resource Orchestration for Microservices-based 5G Applications", sections IV and V:
f(y, p) is the least amount of one resource that reaches performance p with an amount y of the other. It is
fitted to `Points`, each of which is an amount of both resources and the performance that they reach, as one of

- `linear`: f = a y + b p + c, as in the paper's linear programme;
- `support_vectors`, `perceptron`: as in its Table I (SVR with polynomial kernel and gamma 10, MLP with one
  hidden layer of 100 and relu); no linear programme takes them, but what they allow can be `tabulated`, and a
  surface be laid over that; they need scikit-learn, the extra "papers";
- `surface`: both directions at once, p <= min_k(a_k net + b_k com + c_k), concave and rising. Two f that are
  fitted separately can contradict each other; one surface cannot, and is linear in a programme too.

>>> points = Points(net=[1, 1, 2, 2], com=[1, 2, 1, 2], performance=[0.3, 0.5, 0.5, 0.7])
>>> fitted = surface(points, quantile=0.5)
>>> [round(float(each), 6) for each in fitted.performance([1, 1.5], [1, 1.5])]
[0.3, 0.5]
>>> round(float(fitted.needed_com([2.0], [0.6])[0]), 6)
1.5
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from flowedge.errors import ConfigError

Floats: TypeAlias = NDArray[np.float64]

Coupling: TypeAlias = Callable[[ArrayLike, ArrayLike], Floats]
"""The least of one resource by the other resource and the performance, element by element."""

_SAME = 1e-7


@dataclass(frozen=True)
class Points:
    """N operating points: network (any unit), compute (any unit) and the performance (0..1) that they reach.

    Raises `ConfigError` where the three are not as many.
    """

    net: ArrayLike
    com: ArrayLike
    performance: ArrayLike

    def __post_init__(self) -> None:
        for name in ("net", "com", "performance"):
            object.__setattr__(self, name, np.asarray(getattr(self, name), np.float64).ravel())
        if not self.net.size == self.com.size == self.performance.size > 0:  # type: ignore[union-attr]
            raise ConfigError("points: as many values of net, com and performance are needed, and at least one")

    @property
    def columns(self) -> tuple[Floats, Floats, Floats]:
        """All three, as float64 of length N."""
        return np.asarray(self.net), np.asarray(self.com), np.asarray(self.performance)

    def efficient(self) -> Points:
        """The points that no other one reaches the performance of with less of one and no more of the other.

        >>> Points([1, 2, 2], [1, 1, 3], [0.5, 0.5, 0.8]).efficient().columns[2].tolist()
        [0.5, 0.8]
        """
        net, com, performance = self.columns
        at_least = performance[None, :] >= performance[:, None]
        no_more = (net[None, :] <= net[:, None]) & (com[None, :] <= com[:, None]) & at_least
        less = (
            (net[None, :] < net[:, None])
            | (com[None, :] < com[:, None])
            | (performance[None, :] > performance[:, None])
        )
        kept = ~(no_more & less).any(axis=1)
        return Points(net[kept], com[kept], performance[kept])

    def reached(self, net: float, com: float) -> float:
        """The best performance of any point within these resources; 0 where there is none."""
        nets, coms, performance = self.columns
        within = (nets <= net * (1 + _SAME)) & (coms <= com * (1 + _SAME))
        return float(performance[within].max(initial=0.0))

    def grid(self, net: ArrayLike, com: ArrayLike) -> Points:
        """What is reached within each pair of a network and a compute resource, as in the paper's Figure 5."""
        pairs = [(n, c) for n in np.ravel(net) for c in np.ravel(com)]
        return Points(*zip(*((n, c, self.reached(n, c)) for n, c in pairs), strict=True))

    def lattice(self, levels: int = 10) -> Points:
        """The grid over so many amounts of each resource, at most, that efficient points need.

        At other amounts part of them would be of no use, and a coupling would think that much is needed.

        >>> Points([1, 2], [1, 3], [0.5, 0.8]).lattice().columns[2].tolist()
        [0.5, 0.5, 0.5, 0.8]
        """
        net, com, _ = self.efficient().columns
        at = np.linspace(0, 1, levels)
        return self.grid(*(np.unique(np.quantile(amounts, at, method="nearest")) for amounts in (net, com)))


@dataclass(frozen=True)
class Linear:
    """f = slope x other resource + price x performance + constant."""

    slope: float
    price: float
    constant: float

    def __call__(self, other: ArrayLike, performance: ArrayLike) -> Floats:
        others, wanted = np.asarray(other, np.float64), np.asarray(performance, np.float64)
        return np.asarray(self.slope * others + self.price * wanted + self.constant)


@dataclass(frozen=True)
class CouplingErrors:
    """Mean absolute, mean squared and root mean squared error, as in ROMA's Table I."""

    mae: float
    mse: float
    rmse: float


def errors(fitted: Coupling, other: ArrayLike, performance: ArrayLike, needed: ArrayLike) -> CouplingErrors:
    """How far a coupling is from what was needed.

    >>> errors(Linear(0, 2, 0), [1, 1], [0.5, 1.0], [1.0, 3.0])
    CouplingErrors(mae=0.5, mse=0.5, rmse=0.7071067811865476)
    """
    missed = np.asarray(fitted(other, performance)) - np.asarray(needed, np.float64)
    mse = float(np.mean(missed**2))
    return CouplingErrors(float(np.mean(np.abs(missed))), mse, mse**0.5)


def linear(other: ArrayLike, performance: ArrayLike, needed: ArrayLike) -> Linear:
    """The coupling a y + b p + c with the least squares.

    >>> fitted = linear([0, 1, 0, 1], [0, 0, 1, 1], [1, 3, 6, 8])
    >>> [round(each, 6) for each in (fitted.slope, fitted.price, fitted.constant)]
    [2.0, 5.0, 1.0]
    """
    inputs = _inputs(other, performance)
    matrix = np.column_stack([inputs, np.ones(len(inputs))])
    solution = np.linalg.lstsq(matrix, np.asarray(needed, np.float64), rcond=None)[0]
    return Linear(*map(float, solution))


def support_vectors(other: ArrayLike, performance: ArrayLike, needed: ArrayLike) -> Coupling:
    """The support vector regression of ROMA's Table I. Raises `ConfigError` without scikit-learn."""
    regressor = _learner("svm").SVR(kernel="poly", gamma=10, max_iter=1_000_000)
    return _fitted(regressor, other, performance, needed)


def perceptron(other: ArrayLike, performance: ArrayLike, needed: ArrayLike) -> Coupling:
    """The multilayer perceptron of ROMA's Table I. Raises `ConfigError` without scikit-learn."""
    regressor = _learner("neural_network").MLPRegressor(
        hidden_layer_sizes=(100,), activation="relu", solver="lbfgs", max_iter=5000, random_state=0
    )
    return _fitted(regressor, other, performance, needed)


def tabulated(
    couplings: tuple[Coupling, Coupling], net: ArrayLike, com: ArrayLike, performance: ArrayLike
) -> Points | None:
    """The best of these performances that two couplings allow at each pair of a network and a compute resource.

    The first is the compute needed by network, the second the network needed by compute. Pairs at which they
    allow none are left out; None where that is all, since they contradict each other everywhere.

    >>> allowed = tabulated((Linear(0, 2, 0), Linear(0, 4, 0)), [1, 2], [1, 2], [0.25, 0.5])
    >>> allowed.columns[2].tolist()
    [0.25, 0.25, 0.5, 0.5]
    """
    axes = np.meshgrid(np.ravel(net), np.ravel(com), np.sort(np.ravel(performance)), indexing="ij")
    nets, coms, wanted = (axis.ravel() for axis in axes)
    allowed = (couplings[0](nets, wanted) <= coms) & (couplings[1](coms, wanted) <= nets)
    best = np.where(allowed, wanted, -np.inf).reshape(axes[0].shape).max(axis=2).ravel()
    kept = best > -np.inf
    if not kept.any():
        return None
    return Points(axes[0][:, :, 0].ravel()[kept], axes[1][:, :, 0].ravel()[kept], best[kept])


@dataclass(frozen=True)
class Surface:
    """performance <= min over K planes of net x a + com x b + c; `planes` is K x 3, with a and b from 0."""

    planes: Floats

    def performance(self, net: ArrayLike, com: ArrayLike) -> Floats:
        """What is reached with these resources."""
        resources = _inputs(net, com)
        return np.asarray((resources @ self.planes[:, :2].T + self.planes[:, 2]).min(axis=1))

    def needed_com(self, net: ArrayLike, performance: ArrayLike) -> Floats:
        """The least compute that reaches a performance with so much network; infinite where none does."""
        return self._needed(net, performance, 0, 1)

    def needed_net(self, com: ArrayLike, performance: ArrayLike) -> Floats:
        """The least network that reaches a performance with so much compute; infinite where none does."""
        return self._needed(com, performance, 1, 0)

    def _needed(self, other: ArrayLike, performance: ArrayLike, other_column: int, wanted: int) -> Floats:
        reached = np.asarray(other, np.float64)[:, None] * self.planes[:, other_column] + self.planes[:, 2]
        short = np.asarray(performance, np.float64)[:, None] - reached
        prices = np.broadcast_to(self.planes[:, wanted], short.shape)
        with np.errstate(divide="ignore", invalid="ignore"):
            needs = np.where(short <= _SAME, 0.0, short / prices)
        return np.asarray(needs.max(axis=1))


def surface(points: Points, *, quantile: float = 0.1) -> Surface:
    """The concave surface that all but a share `quantile` (0..1) of the points reach, as near as it can be.

    Of all rising concave functions it has the least pinball loss at the points, by one linear programme with a
    value and a slope for each of N points (N^2 rows; up to some hundred points), and of these it is the lowest
    between them. With a low quantile it is careful, as f, the resources that are enough, must be.
    """
    from scipy.optimize import linprog
    from scipy.sparse import coo_array

    net, com, performance = points.columns
    scale = np.array([net.max() or 1.0, com.max() or 1.0])
    at = np.column_stack([net, com]) / scale
    count = len(at)
    # Unknowns: value, slope by net, slope by com, and what the point is above and below, of each point.
    i, j = (indices.ravel() for indices in np.nonzero(~np.eye(count, dtype=bool)))
    rows = np.arange(len(i))
    step = at[i] - at[j]
    parts = (
        (i, np.ones(len(i))),
        (j, -np.ones(len(i))),
        (count + j, -step[:, 0]),
        (2 * count + j, -step[:, 1]),
    )
    concave = coo_array(
        (
            np.concatenate([value for _, value in parts]),
            (np.tile(rows, 4), np.concatenate([column for column, _ in parts])),
        ),
        shape=(len(i), 5 * count),
    )
    unit, none = np.eye(count), np.zeros((count, 2 * count))
    missed = np.hstack([unit, none, unit, -unit])
    cost = np.concatenate([np.zeros(3 * count), np.full(count, quantile), np.full(count, 1 - quantile)])
    bounds = [(None, None)] * count + [(0, None)] * (4 * count)
    result = linprog(
        cost,
        A_ub=concave if count > 1 else None,
        b_ub=np.zeros(len(i)) if count > 1 else None,
        A_eq=missed,
        b_eq=performance,
        bounds=bounds,
    )
    if result.status != 0:
        raise ArithmeticError(f"HiGHS: {result.message}")
    planes = _envelope(at, result.x[:count])
    return Surface(planes / np.array([*scale, 1.0]))


def _envelope(at: Floats, value: Floats) -> Floats:
    """The planes of the lowest rising concave function above the values, K x 3, of resources from 0 to 1.

    Between points it promises what a mixture of them reaches, and no more.
    """
    from scipy.spatial import ConvexHull

    net, com = at.T
    more = np.full_like(net, 2.0)  # of a resource than 1 reaches as much
    risen = [np.column_stack([x, y, value]) for x, y in ((net, com), (more, com), (net, more), (more, more))]
    below = [1.5, 1.5, float(value.min()) - 1.0]  # gives the hull a volume
    sides = ConvexHull(np.vstack([*risen, below])).equations
    upper = sides[sides[:, 2] > _SAME]
    planes = -upper[:, [0, 1, 3]] / upper[:, 2:3]
    planes[:, :2] = planes[:, :2].clip(min=0.0)
    return np.unique(np.vstack([planes, [0.0, 0.0, value.max()]]).round(9), axis=0)


def _learner(module: str) -> Any:
    try:
        return import_module(f"sklearn.{module}")
    except ImportError as error:
        raise ConfigError('this coupling needs scikit-learn: pip install "flowedge[papers]"') from error


def _fitted(regressor: Any, other: ArrayLike, performance: ArrayLike, needed: ArrayLike) -> Coupling:
    """A regressor of scikit-learn over inputs from 0 to 1."""
    inputs = _inputs(other, performance)
    scale = inputs.max(axis=0)
    scale[scale == 0] = 1.0
    regressor.fit(inputs / scale, np.asarray(needed, np.float64))
    return lambda others, wanted: np.asarray(regressor.predict(_inputs(others, wanted) / scale))


def _inputs(one: ArrayLike, other: ArrayLike) -> Floats:
    return np.column_stack([np.asarray(one, np.float64), np.asarray(other, np.float64)])
