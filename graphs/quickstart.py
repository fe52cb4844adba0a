"""A synthetic street, the people and vehicles on it followed, and how well: needs no camera and no download."""

from flowedge import Graph, join, param
from flowedge.operators import Detect, Draw, NonMaxMerge, Quality, Slice, Track, VideoFile, street

seconds = param("seconds", 8.0, help="how much video to make")
output = param("output", "quickstart.mp4", help="the video to write")

graph = Graph("quickstart")
view = f"street://?people=16&vehicles=4&width=1280&height=720&fps=12.5&seed=1&seconds={seconds}"
frames, truth = street(graph, view)
found = frames >> Slice(tiles=4) >> Detect("street", confidence=0.1, overlap=0.5) >> NonMaxMerge()
tracks = found >> Track()
join(frames, tracks) >> Draw() >> VideoFile(output)
join(tracks, truth) >> Quality()
