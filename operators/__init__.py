"""The standard operators, by what they do.

Sources: `video`, `street`. Pictures: `Decode`, `Sample`, `Resize`, `Crop`, `Draw`. Analysis: `Detect`,
`MotionDetect`. Sinks: `VideoFile`, `JSONLines`, `MOTFile`, `Snapshot`, `Null`.
"""

from flowedge.operators.crop import Crop
from flowedge.operators.decode import Decode
from flowedge.operators.detect import Detect
from flowedge.operators.draw import Draw
from flowedge.operators.json_lines import JSONLines
from flowedge.operators.mot_file import MOTFile
from flowedge.operators.motion import MotionDetect
from flowedge.operators.null import Null
from flowedge.operators.resize import Resize
from flowedge.operators.sample import Sample
from flowedge.operators.snapshot import Snapshot
from flowedge.operators.street import street
from flowedge.operators.video import Video, video
from flowedge.operators.video_file import VideoFile

__all__ = [
    "Crop",
    "Decode",
    "Detect",
    "Draw",
    "JSONLines",
    "MOTFile",
    "MotionDetect",
    "Null",
    "Resize",
    "Sample",
    "Snapshot",
    "Video",
    "VideoFile",
    "street",
    "video",
]
