"""Follow people and vehicles, small ones too: slice, detect, merge, track (CARE's multi-object tracking).

    flowedge run graphs/mot.py source=street.mp4 model=yolo11n classes=person tiles=4 mot=tracks.txt

`tracker=tiles` tracks in every tile by itself and joins the tracks, as CARE does; `tracker=picture` also looks
at how people look (it needs the model osnet_x0_25). With a latency to keep, the number of tiles follows the load:

    flowedge run graphs/mot.py source=rtsp://10.0.0.5/street model=yolo11n size=320 latency=400ms
"""

from flowedge import ConfigError, Goal, Graph, join, param
from flowedge.operators import (
    Detect,
    Draw,
    MOTFile,
    NonMaxMerge,
    Reconstruct,
    Slice,
    Track,
    TrackTile,
    TrackWithPicture,
    VideoFile,
    video,
)

source = param("source", "street://?people=30&vehicles=8", help="camera URL, video file or folder of pictures")
usual = "street" if source.startswith("street://") else "yolox_nano"
model = param("model", usual, help="a name that `flowedge models list` shows, or a path")
size = param("size", type=int, help="input size of the model in pixels")
classes = param("classes", (), help="names to keep, e.g. person,car; all by default")
tiles = param("tiles", 4, choices=(1, 2, 4, 6), help="number of tiles that each frame is cut into; 1 for none")
overlap = param("overlap", 0.2, help="share of a tile that its neighbour shows too")
tracker = param("tracker", "frame", help="frame, picture or tiles")
output = param("output", "mot.mp4", help="annotated video to write (.mp4)")
mot = param("mot", type=str, help="MOTChallenge rows to write")
latency = param("latency", type=str, help="goal from capture to video, e.g. 400ms; the tiles adapt to it")

graph = Graph("mot", goal=Goal(latency=latency))
frames = video(graph, source)
# Trackers use weak detections too, to bridge moments in which an object is half hidden, but no doubles.
detect = Detect(model, size=size, classes=classes, confidence=0.1, overlap=0.5)
parts = frames >> Slice(tiles=tiles, overlap=overlap) >> detect
if tracker == "tiles":
    tracks = parts >> TrackTile() >> Reconstruct()
elif tracker == "picture":
    tracks = join(frames, parts >> NonMaxMerge()) >> TrackWithPicture()
elif tracker == "frame":
    tracks = parts >> NonMaxMerge() >> Track()
else:
    raise ConfigError(f"tracker={tracker}: choose frame, picture or tiles")
join(frames, tracks) >> Draw() >> VideoFile(output)
if mot:
    tracks >> MOTFile(mot)
