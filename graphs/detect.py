"""Find objects in a video or a live stream: an annotated video, events as JSON lines, rows for MOTChallenge.

    flowedge run graphs/detect.py source=rtsp://10.0.0.5/street model=yolox_nano output=street.mp4

What is not named is not written.
"""

from flowedge import Graph, join, param
from flowedge.operators import Detect, Draw, JSONLines, MOTFile, Null, VideoFile, video

source = param("source", "street://", help="camera URL, video file or folder of pictures")
usual = "street" if source.startswith("street://") else "yolox_nano"
model = param("model", usual, help="a name that `flowedge models list` shows, or a path")
size = param("size", type=int, help="input size of the model in pixels")
classes = param("classes", (), help="names to keep, e.g. person,car; all by default")
confidence = param("confidence", 0.25, help="lowest score of an object")
most = param("most", 3000, help="most objects of a frame; the surest are kept")
output = param("output", type=str, help="annotated video to write (.mp4)")
events = param("events", type=str, help="JSON lines to write (- is standard output)")
mot = param("mot", type=str, help="MOTChallenge rows to write")

graph = Graph("detect")
frames = video(graph, source)
found = frames >> Detect(model, classes=classes, confidence=confidence, size=size, most=most)
if output:
    join(frames, found) >> Draw() >> VideoFile(output)
if events:
    found >> JSONLines(events)
if mot:
    found >> MOTFile(mot)
if not (output or events or mot):
    found >> Null()
