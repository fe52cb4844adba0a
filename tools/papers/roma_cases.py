"""The applications of ROMA's evaluation, their couplings, and the errors of these in and out of sample."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from flowedge.planner.papers.roma.allocation import Coupled
from flowedge.planner.papers.roma.couplings import (
    Coupling,
    CouplingErrors,
    Floats,
    Linear,
    Points,
    errors,
    linear,
    perceptron,
    support_vectors,
    surface,
    tabulated,
)
from tools.papers import roma_grid

BANDWIDTHS = (10.0, 5.0, 2.0, 1.0, 0.5, 0.2, 0.1, 0.05)  # Mbit/s of each camera
CORES = (16.0, 12.0, 8.0, 6.0, 4.0, 3.0, 2.0)  # of all cameras together
CAMERAS = 8  # that share the cores; at best they need all 16
FOLDS = 10
FITS: Mapping[str, Callable[..., Coupling]] = {"linear": linear, "SVR": support_vectors, "MLP": perceptron}
COUPLINGS = (*FITS, "surface")

Pair: TypeAlias = tuple[Coupling, Coupling]
"""The compute needed by network, and the network needed by compute."""


@dataclass(frozen=True)
class Case:
    """An application and its couplings.

    `known` are its settings: what each takes (Mbit/s of a camera, cores of all) and reaches. `grid` is what is
    reached within each pair of swept resources, as in the paper's Figure 5; `needs` are those of its points
    that waste nothing. `fresh` is what the same settings take and reach on another street.
    """

    name: str
    known: Points
    fresh: Points | None
    grid: Points
    needs: Points
    coupled: Mapping[str, Coupled | Points]

    @property
    def most(self) -> float:
        """The best performance within the most resources that are swept."""
        return float(self.grid.columns[2].max())


@dataclass(frozen=True)
class CouplingError:
    """How far a coupling misses what was needed, at so many points; `sample` says at which."""

    case: str
    direction: str
    coupling: str
    sample: str
    points: int
    errors: CouplingErrors

    def cells(self) -> list[str]:
        """As a line of a table."""
        numbers = (self.errors.mae, self.errors.mse, self.errors.rmse)
        return [self.case, self.direction, self.coupling, self.sample, str(self.points)] + [
            f"{number:.4f}" for number in numbers
        ]


def awstream(path: Path, seconds: float) -> Points:
    """AWStream's settings; `seconds` is the CPU time of a frame of 640 pixels."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    com = [CAMERAS * 30 / (int(row["skip"]) + 1) * seconds * (int(row["width"]) / 640) ** 2 for row in rows]
    return Points([float(row["bandwidth"]) for row in rows], com, [float(row["accuracy"]) for row in rows])


def street(measured: Sequence[roma_grid.Point], number: int) -> Points:
    """The settings as they were measured on one of the streets."""
    kept = [point for point in measured if point.street == number]
    return Points([p.net for p in kept], [CAMERAS * p.com for p in kept], [p.score for p in kept])


def case(name: str, known: Points, fresh: Points | None = None) -> Case:
    """The application with all couplings, fitted to its grid; without an SVR or MLP that allows nothing.

    `settings` stands for a coupling that is exact: the settings themselves.
    """
    grid = _grid(known)
    needs = grid.efficient()
    coupled: dict[str, Coupled | Points] = {}
    for kind, fit in FITS.items():
        pair = _pair(fit, needs)
        allowed = _lines(pair) or tabulated(pair, *_axes(grid))
        if allowed is not None:
            coupled[kind] = allowed
    coupled |= {"surface": surface(grid), "settings": known}
    return Case(name, known, fresh, grid, needs, coupled)


def fits(application: Case) -> Iterator[CouplingError]:
    """Errors at the points of the fit, at points left out of it, and at those of the other street."""
    whole, folds = couplings(application.grid), _folds(application)
    fresh = None if application.fresh is None else _sides(_grid(application.fresh).efficient())
    for direction, at in _sides(application.needs).items():
        for kind in COUPLINGS:
            name, fitted = (application.name, direction, kind), whole[kind, direction]
            yield CouplingError(*name, "in sample", len(at[0]), errors(fitted, *at))
            left_out = np.empty_like(at[0])
            for out, others in folds:
                left_out[out] = others[kind, direction](at[0][out], at[1][out])
            yield CouplingError(
                *name, f"{FOLDS} folds", len(at[0]), errors(lambda *_, values=left_out: values, *at)
            )
            if fresh is not None:
                yield CouplingError(
                    *name, "other street", len(fresh[direction][0]), errors(fitted, *fresh[direction])
                )


def couplings(grid: Points) -> dict[tuple[str, str], Coupling]:
    """Every coupling in both directions by its name, fitted to a grid of what is reached within resources.

    Where a surface says that no amount is enough, it is taken to ask for the largest amount in the grid.
    """
    needs = grid.efficient()
    fitted: dict[tuple[str, str], Coupling] = {}
    for kind, fit in FITS.items():
        fitted[kind, "net,com"], fitted[kind, "com,net"] = _pair(fit, needs)
    plane, (net, com, _) = surface(grid), needs.columns
    fitted["surface", "net,com"] = _at_most(plane.needed_com, float(com.max()))
    fitted["surface", "com,net"] = _at_most(plane.needed_net, float(net.max()))
    return fitted


def _folds(application: Case) -> list[tuple[NDArray[np.intp], dict[tuple[str, str], Coupling]]]:
    """Positions in `needs`, and the couplings fitted to the grid without these points."""
    net, com, performance = application.grid.columns
    fold = np.random.default_rng(0).permutation(len(net)) % FOLDS
    at = {pair: position for position, pair in enumerate(zip(net.tolist(), com.tolist(), strict=True))}
    needs = [
        at[pair] for pair in zip(*(column.tolist() for column in application.needs.columns[:2]), strict=True)
    ]
    folds = []
    for number in range(FOLDS):
        out = np.flatnonzero(fold[needs] == number)
        kept = fold != number
        if len(out):
            folds.append((out, couplings(Points(net[kept], com[kept], performance[kept]))))
    return folds


def _grid(points: Points) -> Points:
    return points.grid(BANDWIDTHS, (*CORES, 1.0, 0.5, 0.25))


def _sides(points: Points) -> dict[str, tuple[Floats, Floats, Floats]]:
    """For both directions the other resource, the performance, and what is needed for it."""
    net, com, performance = points.columns
    return {"com,net": (com, performance, net), "net,com": (net, performance, com)}


def _pair(fit: Callable[..., Coupling], needs: Points) -> Pair:
    net, com, performance = needs.columns
    return fit(net, performance, com), fit(com, performance, net)


def _lines(pair: Pair) -> tuple[Linear, Linear] | None:
    one, other = pair
    return (one, other) if isinstance(one, Linear) and isinstance(other, Linear) else None


def _axes(grid: Points) -> tuple[Floats, Floats, Floats]:
    """Amounts and performances at which couplings are put into a table."""
    net, com, performance = grid.columns
    positive = performance[performance > 0]
    return (
        np.geomspace(net.min(), net.max(), 40),
        np.geomspace(com.min(), com.max(), 40),
        np.linspace(positive.min(), positive.max(), 60),
    )


def _at_most(needed: Coupling, most: float) -> Coupling:
    return lambda other, performance: np.asarray(needed(other, performance)).clip(max=most)
