"""Find, follow and count people and vehicles that cross lines (ROMA, figure 3).

    flowedge run graphs/traffic.py source=rtsp://10.0.0.5/road lines=stop:0:400:1280:400 output=road.mp4

A line is NAME:X1:Y1:X2:Y2 in source pixels, or in parts of the picture where all four are from 0 to 1; commas
separate lines. `events` has one line of JSON for each crossing. What is not named is not written.
"""

from flowedge import Graph, join, param
from flowedge.operators import (
    CountLines,
    Detect,
    Draw,
    DrawLines,
    JSONLines,
    Null,
    Track,
    VideoFile,
    parsed_lines,
    video,
)

source = param("source", "street://", help="camera URL, video file or folder of pictures")
usual = "street" if source.startswith("street://") else "yolox_nano"
model = param("model", usual, help="a name that `flowedge models list` shows, or a path")
size = param("size", type=int, help="input size of the model in pixels")
classes = param("classes", ("person", "car", "bus", "truck"), help="what to count")
lines = parsed_lines(param("lines", ("middle:0:0.6:1:0.6",), help="NAME:X1:Y1:X2:Y2 of each counting line"))
output = param("output", type=str, help="annotated video to write (.mp4)")
events = param("events", type=str, help="JSON lines to write, one a crossing (- is standard output)")

graph = Graph("traffic")
frames = video(graph, source)
tracks = frames >> Detect(model, classes=classes, confidence=0.1, size=size) >> Track()
if output:
    counts = tracks >> CountLines(lines)
    drawn = join(frames, tracks) >> Draw()
    join(drawn, counts) >> DrawLines(lines) >> VideoFile(output)
if events:
    tracks >> CountLines(lines, quiet=True, name="Crossings") >> JSONLines(events)
if not (output or events):
    tracks >> CountLines(lines) >> Null()
