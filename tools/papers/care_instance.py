"""One instance of CARE's composite application: finds and tracks what is in one tile of a frame.

    flowedge profile tools/papers/care_instance.py --knob part=1/1,1/2,2/2 --output care.toml

The street has 150 objects at 1080p, CARE's most demanding setting. `part=2/4` is the second of four tiles.
"""

from dataclasses import dataclass

from flowedge import ConfigError, Frame, Graph, Operator, param
from flowedge.operators import Detect, Null, Slice, TrackTile, video

STREET = "street://?people=112&vehicles=38&width=1920&height=1080&fps=10&seed=11"

part = param("part", "1/1", help="the tile's number, and of how many tiles")
model = param("model", "yolo11n-640", help="the detector")


@dataclass
class Tile(Operator[Frame, Frame]):
    """One of the tiles that `Slice` cuts."""

    number: int
    tiles: int

    def process(self, frame: Frame, /) -> Frame:
        return Slice(self.tiles, whole_frame=False).split(frame)[self.number - 1]


words = part.split("/")
if not (len(words) == 2 and all(word.isdecimal() for word in words) and 1 <= int(words[0]) <= int(words[1])):
    raise ConfigError(f"part={part}: write the tile's number and of how many tiles, like 2/4")
graph = Graph("care_instance")
tile = video(graph, STREET) >> Tile(*map(int, words))
tile >> Detect(model, confidence=0.1) >> TrackTile() >> Null()
