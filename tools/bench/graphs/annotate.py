"""File -> decode -> detect -> draw -> encode, for one or more cameras."""

from flowedge import Graph, join, param
from flowedge.operators import Detect, Draw, VideoFile, video

source = param("source", type=str)
model = param("model", type=str)
output = param("output", type=str)
cameras = param("cameras", 1)

graph = Graph("annotate")
frames = video(graph, {f"camera{number}": source or "" for number in range(cameras)})
join(frames, frames >> Detect(model or "", size=640)) >> Draw(trail=0) >> VideoFile(output or "")
