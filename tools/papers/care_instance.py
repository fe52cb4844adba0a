"""One instance of CARE's composite application: finds and tracks what is in one tile of a frame.

    flowedge profile tools/papers/care_instance.py --knob part=1/1,1/2,2/2 --output care.toml

The street has 150 objects at 1080p, CARE's most demanding setting. `part=2/4` is the second of four tiles.
"""

from dataclasses import dataclass

from flowedge import Frame, Graph, Operator, param
from flowedge.operators import Detect, Null, Slice, TrackTile, video

STREET = "street://?people=112&vehicles=38&width=1920&height=1080&fps=10&seed=11"

part = param(
    "part",
    choices=tuple(f"{number}/{tiles}" for tiles in (1, 2, 4, 6) for number in range(1, tiles + 1)),
    help="the tile's number, and of how many tiles",
)
model = param("model", "yolo11n-640", help="the detector")


@dataclass
class Tile(Operator[Frame, Frame]):
    """One of the tiles that `Slice` cuts: `part` is like "2/4", the second of four."""

    part: str

    def process(self, frame: Frame, /) -> Frame:
        number, tiles = map(int, self.part.split("/"))
        return Slice(tiles, whole_frame=False).split(frame)[number - 1]


graph = Graph("care_instance")
tile = video(graph, STREET) >> Tile(part)
tile >> Detect(model, confidence=0.1) >> TrackTile() >> Null()
