"""Tracks as files of the MOTChallenge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from flowedge import Detections, Sink, Tracks
from flowedge.outputs import LineFiles, OutputPaths, check_pattern


@dataclass
class MOTFile(Sink[Detections]):
    """Write rows `frame,id,x,y,width,height,score,-1,-1,-1` in source pixels, as tracking benchmarks read them.

    Frames count from 1; an object without identity has the id -1. One file for each camera: `{camera}` in
    `path` stands for its name, and a second camera without it raises `ConfigError`. Raises `OutputError` where
    the file cannot be written.

    >>> sink = MOTFile("{camera}.txt")
    """

    path_field = "path"

    path: str
    _paths: OutputPaths = field(init=False, repr=False, compare=False)
    _files: LineFiles = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require("path", check_pattern(self.path), 'a path like "{camera}.txt"')
        self._paths = OutputPaths(self.path)
        self._files = LineFiles("MOTFile.path")

    def check_outputs(self, cameras: Sequence[str]) -> None:
        self._paths.check(cameras)

    def write(self, objects: Detections, /) -> None:
        """Write the frame's rows; the file is there from the first frame on, even an empty one."""
        self._files.write(self._paths.of(objects.origin.camera), _rows(objects))

    def end(self, camera: str) -> None:
        """Close the camera's own file; when the camera comes back, it goes on behind what is there."""
        if path := self._paths.own(camera):
            self._files.end(path)

    def close(self) -> None:
        """Close the files."""
        self._files.close()

    def written(self) -> Sequence[Path]:
        """The files written so far that are still there."""
        return self._files.paths()


def _rows(objects: Detections) -> str:
    """The rows of one frame.

    >>> from flowedge import Origin
    >>> _rows(Tracks(Origin("north"), [[1, 2, 11, 22]], [0.5], [0], ids=[7]))
    '1,7,1.00,2.00,10.00,20.00,0.5000,-1,-1,-1\\n'
    """
    ids = objects.ids.tolist() if isinstance(objects, Tracks) else [-1] * len(objects)
    corners, sizes = objects.boxes[:, :2], objects.boxes[:, 2:] - objects.boxes[:, :2]
    boxes = np.concatenate([corners, sizes], axis=1).tolist()
    return "".join(
        f"{objects.origin.index + 1},{i},{x:.2f},{y:.2f},{width:.2f},{height:.2f},{score:.4f},-1,-1,-1\n"
        for i, (x, y, width, height), score in zip(ids, boxes, objects.scores.tolist(), strict=True)
    )
