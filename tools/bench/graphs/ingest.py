"""RTSP -> decoded pictures, and nothing else; every one, however fast they come."""

from flowedge import Graph, param
from flowedge.operators import Null, video

source = param("source", type=str)

graph = Graph("ingest")
video(graph, source or "", live=False) >> Null()
