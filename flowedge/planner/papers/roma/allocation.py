"""ROMA's problem [P] for one function: so much network and compute, for a performance that they are coupled to.

Gholami et al. 2021, "ROMA: Resource Orchestration for Microservices-based 5G Applications", section V.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from flowedge.planner.exact.milp import IntegerProgramme
from flowedge.planner.papers.roma.couplings import Linear, Points, Surface

Coupled: TypeAlias = "Surface | tuple[Linear, Linear]"
"""A surface, or the compute needed by network and the network needed by compute."""

ETA = 0.1  # "a small value to promote a solution that primarily enhances the performance"


@dataclass(frozen=True)
class Allocation:
    """Resources in the units of the coupling, and the performance (0..1) that it promises for them."""

    net: float
    com: float
    performance: float


def allocate(
    coupled: Coupled | Points,
    net: float,
    com: float,
    *,
    most: float = 1.0,
    eta: float = ETA,
    scale: tuple[float, float],
) -> Allocation | None:
    """[P] for one function with so much network and compute available; None where the couplings allow nothing.

    `scale` are the amounts of network and compute that cost as much as all performance gains, `most` the
    performance that is possible at all. Of points, which are settings or couplings in a table
    (`flowedge.planner.papers.roma.couplings.tabulated`), the best is taken.

    >>> plane = Surface(np.array([[0.1, 0.2, 0.0]]))
    >>> allocate(plane, 4.0, 2.0, eta=0.5, scale=(10.0, 16.0))
    Allocation(net=4.0, com=2.0, performance=0.8)
    """
    if isinstance(coupled, Points):
        return _best(coupled, net, com, eta, scale)
    model = IntegerProgramme()
    variables = (
        model.variable(cost=eta / scale[0], upper=net),
        model.variable(cost=eta / scale[1], upper=com),
        model.variable(cost=eta - 1, upper=most),
    )
    couple(model, coupled, *variables)
    solution = model.solve(relaxed=True)
    return (
        None
        if solution.values is None
        else Allocation(*(float(solution.values[variable]) for variable in variables))
    )


def _best(points: Points, net: float, com: float, eta: float, scale: tuple[float, float]) -> Allocation | None:
    nets, coms, performance = points.columns
    cost = eta * (nets / scale[0] + coms / scale[1]) - (1 - eta) * performance
    cost = np.where((nets <= net) & (coms <= com), cost, np.inf)
    at = int(np.argmin(cost))
    if cost[at] == np.inf:
        return None
    return Allocation(float(nets[at]), float(coms[at]), float(performance[at]))


def couple(
    model: IntegerProgramme, coupled: Coupled, net: int, com: int, performance: int, short: int | None = None
) -> None:
    """Rows that couple three variables; `short` is what a row may be violated by, at a price."""
    if isinstance(coupled, Surface):
        for a, b, c in coupled.planes.tolist():
            terms = [(performance, 1.0), (net, -a), (com, -b)]
            model.row([*terms, *([] if short is None else [(short, -1.0)])], upper=c)
        return
    for coupling, other, needed in ((coupled[0], net, com), (coupled[1], com, net)):
        terms = [(needed, 1.0), (other, -coupling.slope), (performance, -coupling.price)]
        model.row([*terms, *([] if short is None else [(short, 1.0)])], lower=coupling.constant)
