"""The standard operators, by what they do.

Sources: `video`, `street`. Pictures: `Decode`, `Sample`, `Resize`, `Crop`, `Draw`, `DrawLines`, `SideBySide`.
Parts of frames: `Slice`, `NonMaxMerge`, `NonMaxSuppress`. Detection: `Detect`, `MotionDetect`. Tracking:
`Track`, `TrackWithPicture`, `TrackTile`, `Reconstruct`, `CountLines`, `Zones`, `CountZones`. Faces:
`DetectFaces`, `EmbedFaces`, `Watchlist`. Sinks: `VideoFile`, `JSONLines`, `MOTFile`, `Snapshot`, `Quality`,
`Null`.
"""

from flowedge.operators.count_lines import CountLines
from flowedge.operators.count_zones import CountZones
from flowedge.operators.crop import Crop
from flowedge.operators.decode import Decode
from flowedge.operators.detect import Detect
from flowedge.operators.detect_faces import DetectFaces
from flowedge.operators.draw import Draw
from flowedge.operators.draw_lines import DrawLines
from flowedge.operators.embed_faces import EmbedFaces
from flowedge.operators.json_lines import JSONLines
from flowedge.operators.mot_file import MOTFile
from flowedge.operators.motion_detect import MotionDetect
from flowedge.operators.non_max_merge import NonMaxMerge
from flowedge.operators.non_max_suppress import NonMaxSuppress
from flowedge.operators.null import Null
from flowedge.operators.quality import Quality
from flowedge.operators.reconstruct import Reconstruct
from flowedge.operators.resize import Resize
from flowedge.operators.sample import Sample
from flowedge.operators.side_by_side import SideBySide
from flowedge.operators.slice import Slice
from flowedge.operators.snapshot import Snapshot
from flowedge.operators.street import street
from flowedge.operators.track import Track
from flowedge.operators.track_tile import TrackTile
from flowedge.operators.track_with_picture import TrackWithPicture
from flowedge.operators.video import Video, video
from flowedge.operators.video_file import VideoFile
from flowedge.operators.watchlist import Watchlist
from flowedge.operators.zones import Zones
from flowedge.vision.lines import parsed_lines

__all__ = [
    "CountLines",
    "CountZones",
    "Crop",
    "Decode",
    "Detect",
    "DetectFaces",
    "Draw",
    "DrawLines",
    "EmbedFaces",
    "JSONLines",
    "MOTFile",
    "MotionDetect",
    "NonMaxMerge",
    "NonMaxSuppress",
    "Null",
    "Quality",
    "Reconstruct",
    "Resize",
    "Sample",
    "SideBySide",
    "Slice",
    "Snapshot",
    "Track",
    "TrackTile",
    "TrackWithPicture",
    "Video",
    "VideoFile",
    "Watchlist",
    "Zones",
    "parsed_lines",
    "street",
    "video",
]
