"""Strategies by name. Each is given a problem and the plan in force, if any, and returns a plan.

`flowedge` is the default.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeAlias

from flowedge.planner.plan import Plan
from flowedge.planner.problem import Problem
from flowedge.planner.strategies.baselines import cloud_only, edge_only, monolithic, random_placement
from flowedge.planner.strategies.care import care, care_exhaustive, care_literal, care_shared
from flowedge.planner.strategies.continuum import continuum
from flowedge.planner.strategies.exact import exact
from flowedge.planner.strategies.flowedge import flowedge
from flowedge.planner.strategies.roma import roma, roma_linear, roma_static

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
