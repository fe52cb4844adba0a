"""Recognise known people in a video or a live stream (ROMA, figure 2: detect faces, embed them, match them).

    flowedge run graphs/watchlist.py source=rtsp://10.0.0.5/door people=people output=door.mp4 events=door.jsonl

`people` is a folder with a picture for each person, named by the person: people/ada.jpg, or several in
people/ada/. Who is not among them stays "unknown". What is not named is not written.
"""

from flowedge import Graph, join, param
from flowedge.operators import DetectFaces, Draw, EmbedFaces, JSONLines, Null, VideoFile, Watchlist, video

source = param("source", "/dev/video0", help="camera URL, video file or folder of pictures")
people = param("people", "people", help="folder of pictures named by person")
size = param("size", 640, help="longer side of the picture that faces are looked for in, pixels")
threshold = param("threshold", 0.5, help="lowest cosine of a face and a person's picture")
output = param("output", type=str, help="annotated video to write (.mp4)")
events = param("events", type=str, help="JSON lines to write (- is standard output)")

graph = Graph("watchlist")
frames = video(graph, source)
faces = join(frames, frames >> DetectFaces(size=size)) >> EmbedFaces()
seen = faces >> Watchlist(people, threshold=threshold)
if output:
    join(frames, seen) >> Draw() >> VideoFile(output)
if events:
    seen >> JSONLines(events)
if not (output or events):
    seen >> Null()
