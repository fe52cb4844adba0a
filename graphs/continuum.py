"""Resize frames, find objects in them with a model of that size, draw what was found.

    flowedge run graphs/continuum.py source=street.mp4 output=found.mp4

The object detection of the compute continuum: frames 416 pixels wide go to the model for 416, those 512 wide to
the one for 512. `size` is a knob that both steps share, so that they agree whichever value is chosen.

The street comes with FlowEdge, the default model does not: `pip install 'flowedge[yolo]'` lets it be fetched
and exported, unless a folder that FLOWEDGE_MODELS names has yolo11n-416.onnx and yolo11n-512.onnx.
"""

from flowedge import Goal, Graph, choose, join, param
from flowedge.operators import Detect, Draw, Resize, VideoFile, video

source = param("source", "street://", help="camera URL, video file or folder of pictures")
model = param("model", "yolo11n", help="a model that comes, or can be exported, in both sizes")
output = param("output", "continuum.mp4", help="the video to write")

latency = param("latency", type=str, help="goal from capture to video, e.g. 200ms; the size adapts to it")

graph = Graph("continuum", goal=Goal(latency=latency))
size = choose("size", 416, 512)
resized = video(graph, source) >> Resize(size)
found = resized >> Detect(model, size=size)
join(resized, found) >> Draw() >> VideoFile(output)
