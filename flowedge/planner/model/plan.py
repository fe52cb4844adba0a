"""A plan as plain data: what runs where, and which cameras it serves."""

from __future__ import annotations

from dataclasses import dataclass, field

from flowedge.planner.model.profiles import Service, Setting


@dataclass(frozen=True, slots=True)
class Deployment:
    """`replicas` equal copies of an operator, in one variant, on one node."""

    operator: str
    node: str
    service: Service
    replicas: int = 1


@dataclass(frozen=True, slots=True)
class Placement:
    """Where one stage of a route runs: by `deployment` (a position in the plan), or free of cost on `node`."""

    stage: str
    node: str
    deployment: int | None = None


@dataclass(frozen=True, slots=True)
class Route:
    """`cameras` of a class whose frames go one way: one setting, and a placement for every stage in order."""

    camera_class: str
    cameras: int
    setting: Setting
    placements: tuple[Placement, ...]


@dataclass(frozen=True, slots=True)
class Reason:
    """Why there is no plan: goals and capacities that cannot hold together, each in a few words.

    `proven` says that no plan exists; otherwise the strategy has just not found one.
    """

    conflict: tuple[str, ...]
    proven: bool


@dataclass(frozen=True)
class Plan:
    """What a strategy decided. `reason` is set, and nothing deployed, where it found no plan.

    `value` is the objective, lower is better, and `bound` a number that no plan can be below, if the strategy
    knows one. `tried` counts the candidates it looked at (CARE's deployments, columns, ...).
    """

    strategy: str
    deployments: tuple[Deployment, ...] = ()
    routes: tuple[Route, ...] = ()
    value: float = float("nan")
    bound: float | None = None
    tried: int = 0
    reason: Reason | None = None
    notes: tuple[str, ...] = field(default=())

    @property
    def found(self) -> bool:
        """Whether this is a plan at all."""
        return self.reason is None

    @property
    def gap(self) -> float | None:
        """How far the value may be from the best, as a share of it; None where no bound is known.

        >>> Plan("exact", value=11.0, bound=10.0).gap
        0.1
        """
        if self.bound is None or not self.found:
            return None
        return max(0.0, self.value - self.bound) / max(abs(self.bound), 1e-12)
