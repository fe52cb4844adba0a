"""FlowEdge: typed operator graphs for live video analytics.

>>> from flowedge import Graph
>>> Graph("crossing").nodes
()
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from flowedge.version import __version__

if TYPE_CHECKING:
    from flowedge.errors import ConfigError as ConfigError
    from flowedge.errors import GraphError as GraphError
    from flowedge.errors import SourceError as SourceError
    from flowedge.errors import StateError as StateError
    from flowedge.errors import UserError as UserError
    from flowedge.graph.contract import Gather as Gather
    from flowedge.graph.contract import Operator as Operator
    from flowedge.graph.contract import Sink as Sink
    from flowedge.graph.contract import Source as Source
    from flowedge.graph.contract import Split as Split
    from flowedge.graph.contract import State as State
    from flowedge.graph.graph import Goal as Goal
    from flowedge.graph.graph import Graph as Graph
    from flowedge.graph.graph import Parts as Parts
    from flowedge.graph.graph import Stream as Stream
    from flowedge.graph.graph import join as join
    from flowedge.graph.graph import synchronize as synchronize
    from flowedge.graph.graph import unzip as unzip
    from flowedge.graph.knobs import choose as choose
    from flowedge.graph.knobs import param as param
    from flowedge.planner import plan as plan
    from flowedge.runtime.run import Run as Run
    from flowedge.values import Absent as Absent
    from flowedge.values import CodecParameters as CodecParameters
    from flowedge.values import Detections as Detections
    from flowedge.values import Event as Event
    from flowedge.values import Faces as Faces
    from flowedge.values import Frame as Frame
    from flowedge.values import Origin as Origin
    from flowedge.values import Packet as Packet
    from flowedge.values import Rect as Rect
    from flowedge.values import Tracks as Tracks

# Names are imported when they are first used: `flowedge --help` answers before numpy would have loaded.
_HOMES = {
    "graph.contract": ("Gather", "Operator", "Sink", "Source", "Split", "State"),
    "errors": ("ConfigError", "GraphError", "SourceError", "StateError", "UserError"),
    "graph.graph": ("Goal", "Graph", "Parts", "Stream", "join", "synchronize", "unzip"),
    "graph.knobs": ("choose", "param"),
    "planner": ("plan",),
    "runtime.run": ("Run",),
    "values": (
        "Absent",
        "CodecParameters",
        "Detections",
        "Event",
        "Faces",
        "Frame",
        "Origin",
        "Packet",
        "Rect",
        "Tracks",
    ),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = ["__version__", *sorted(_HOME_OF)]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'flowedge' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"flowedge.{_HOME_OF[name]}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME_OF})
