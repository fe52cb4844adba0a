"""The planner: where the operators of a graph run in a cluster, how many replicas, with which knob values.

`plan` is the way in. It puts together a `Problem` (the applications of a graph with their goals, the cluster,
camera classes, profiles), lets a strategy make a `Plan`, and can predict what comes of it.
`flowedge.planner.model.checker` verifies any plan from scratch, whoever made it.

Data comes in and data goes out: no file is opened, nothing is kept between calls. The default strategy is
bounded by work and reads no clock, so that load does not change its plan. `exact` has a limit in seconds: where
it reaches it, a busy machine may return another plan than an idle one, valid all the same, and `bound` says how
far from the best it may be. The search for the reason why no plan exists has such a limit too.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flowedge.planner.planning import Planned as Planned
    from flowedge.planner.planning import plan as plan

__all__ = ["Planned", "plan"]


def __getattr__(name: str) -> Any:
    # Imported at its first use: reading a cluster file must not wait for the solvers.
    if name not in __all__:
        raise AttributeError(f"module 'flowedge.planner' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module("flowedge.planner.planning"), name)
    return value
