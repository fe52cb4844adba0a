"""Pictures -> slice -> detect -> merge -> lines of JSON."""

from typing import Literal

from flowedge import Graph, param
from flowedge.operators import Detect, JSONLines, video
from flowedge.operators.non_max_merge import NonMaxMerge
from flowedge.operators.slice import Slice

SUPPRESSED = 0.5  # from this overlap on SAHI, too, takes two boxes of one slice for one object

source = param("source", type=str)
model = param("model", type=str)
engine: Literal["openvino", "onnxruntime"] = param("engine", "openvino")  # type: ignore[assignment]
grid = param("rows", 2), param("columns", 2)
overlap = param("overlap", 0.2)
confidence = param("confidence", 0.25)
output = param("output", type=str)

graph = Graph("slices")
parts = (
    video(graph, source or "")
    >> Slice(grid, overlap)
    >> Detect(model or "", confidence=confidence, overlap=SUPPRESSED, engine=engine)
)
parts >> NonMaxMerge() >> JSONLines(output or "")
