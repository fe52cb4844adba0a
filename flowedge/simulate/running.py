"""A scenario run to its end."""

from __future__ import annotations

import math
from collections.abc import Callable

from flowedge.simulate.dispatching import Dispatching
from flowedge.simulate.planning import Planning
from flowedge.simulate.results import Results
from flowedge.simulate.scenario import Scenario


def simulate(scenario: Scenario, choice: str, progress: Callable[[float], None] | None = None) -> Results:
    """What comes of a scenario with one of its choices: a policy, or a strategy where a plan is in the loop.

    `progress` is told the time reached, in seconds of the scenario, now and then. Raises `ConfigError`.
    """
    if scenario.planned is not None:
        simulation: Dispatching | Planning = Planning(scenario, choice)
    else:
        simulation = Dispatching(scenario, choice)
    steps = math.ceil(scenario.duration / scenario.window)
    for step in range(1, steps):
        simulation.advance(step * scenario.window)
        if progress is not None:
            progress(step * scenario.window)
    simulation.advance()
    return simulation.results()
