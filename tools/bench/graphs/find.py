"""File -> decode -> detect, and nothing else."""

from typing import Literal

from flowedge import Graph, param
from flowedge.operators import Detect, Null, video

source = param("source", type=str)
model = param("model", type=str)
engine: Literal["openvino", "onnxruntime"] = param("engine", "openvino")  # type: ignore[assignment]

graph = Graph("find")
video(graph, source or "") >> Detect(model or "", size=640, engine=engine) >> Null()
