"""Two cameras beside each other, frames that were taken at the same time, with what is found on them.

    flowedge run graphs/side_by_side.py left=rtsp://10.0.0.5/street right=rtsp://10.0.0.6/street
    model=yolox_nano

Needs no camera and no download: two synthetic streets of other rates, if none are named.
"""

from flowedge import Graph, join, param, synchronize
from flowedge.operators import Detect, Draw, SideBySide, Track, VideoFile, video

street = "street://?width=640&height=360&seconds=6"
left = param("left", f"{street}&fps=25&seed=1", help="URL, file or folder of the left camera")
right = param("right", f"{street}&fps=12.5&seed=2", help="URL, file or folder of the right camera")
model = param("model", "street", help="a name that `flowedge models list` shows, or a path")
tolerance = param("tolerance", "40 ms", help="how far apart the frames of a pair may be taken")
output = param("output", "side_by_side.mp4", help="the video to write")

graph = Graph("side_by_side")
frames = video(graph, {"left": left, "right": right})
drawn = join(frames, frames >> Detect(model) >> Track()) >> Draw()
synchronize(drawn, cameras=("left", "right"), tolerance=tolerance) >> SideBySide(gap=4) >> VideoFile(output)
