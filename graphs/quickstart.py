"""A synthetic street, what moves on it, and a video of both: needs no camera, no network, no download."""

from flowedge import Graph, join, param
from flowedge.operators import Draw, MotionDetect, VideoFile, video

seconds = param("seconds", 8.0, help="how much video to make")
output = param("output", "quickstart.mp4", help="the video to write")

graph = Graph("quickstart")
frames = video(graph, f"street://?people=16&vehicles=4&width=1280&height=720&fps=25&seed=1&seconds={seconds}")
moving = frames >> MotionDetect()
join(frames, moving) >> Draw() >> VideoFile(output)
