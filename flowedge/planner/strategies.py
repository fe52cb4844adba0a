"""Strategies by name. Each is given a problem and the plan in force, if any, and returns a plan.

`flowedge` is the default.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeAlias

from flowedge.planner.exact.exact import exact
from flowedge.planner.model.plan import Plan
from flowedge.planner.model.problem import Problem
from flowedge.planner.papers.baselines import cloud_only, edge_only, monolithic, random_placement
from flowedge.planner.papers.care import care, care_exhaustive, care_literal, care_shared
from flowedge.planner.papers.continuum.strategy import continuum
from flowedge.planner.papers.roma.strategy import roma, roma_linear, roma_static
from flowedge.planner.solver.solve import flowedge

Strategy: TypeAlias = Callable[[Problem, Plan | None], Plan]

STRATEGIES: Mapping[str, Strategy] = MappingProxyType(
    {
        "flowedge": flowedge,
        "exact": exact,
        "care": care,
        "care-shared": care_shared,
        "care-literal": care_literal,
        "care-exhaustive": care_exhaustive,
        "roma": roma,
        "roma-linear": roma_linear,
        "roma-static": roma_static,
        "continuum": continuum,
        "cloud-only": cloud_only,
        "edge-only": edge_only,
        "monolithic": monolithic,
        "random": random_placement,
    }
)
