"""Who looks after a run that has begun: the whole controller, where there is something to choose and a goal."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from flowedge.planner.model.profiles import Setting
from flowedge.runtime.controller.adaptation import Cost
from flowedge.runtime.routes import settings
from flowedge.runtime.run import Run

log = logging.getLogger("flowedge.cli")


@contextmanager
def adapting(
    run: Run, *, fixed: bool = False, strategy: str = "flowedge", costs: Mapping[Setting, Cost] | None = None
) -> Iterator[None]:
    """Let operators have the processes that they need, and the knobs of the graph follow its goal.

    Nothing of this where it is to stay `fixed`. `strategy` is the planner's; `costs` are what the settings are
    taken to cost until that has been measured.
    """
    count, goal = len(settings(run.graph)), run.graph.goal
    if fixed:
        yield
        return
    if count < 2 or (goal.latency is None and goal.accuracy is None):
        from flowedge.runtime.controller.offloading import Offloading

        if count > 1:
            log.info("the graph has no goal, so its knobs keep their first values")
        elif costs:
            log.info("the graph has no knobs, so the profiles are not needed")
        with Offloading(run):
            yield
        return
    from flowedge.runtime.controller.controller import Controller

    with Controller(run, strategy=strategy, costs=costs):
        yield
