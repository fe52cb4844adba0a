"""The newest frame as a picture file."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from flowedge import Frame, Sink
from flowedge.graph.per_camera import all_hold, of_camera
from flowedge.outputs import OutputPaths, ReplacedFile, check_pattern, existing, writing

_SUFFIXES = (".jpg", ".jpeg", ".png")
_EVERY = 1.0


@dataclass
class Snapshot(Sink[Frame]):
    """Keep the newest frame in the file `path`, renewed at most every `every` seconds.

    The file is replaced in one step, so whoever looks sees a whole picture. `{camera}` in `path` makes one file
    for each camera; it ends in .jpg or .png. `every` may be a mapping by camera name. The last frame of a
    stream is always written. Raises `OutputError` where the file cannot be written.

    >>> sink = Snapshot("{camera}.jpg", every=5)
    """

    per_camera = ("every",)
    path_field = "path"

    path: str
    every: float | Mapping[str, float] = _EVERY
    _paths: OutputPaths = field(init=False, repr=False, compare=False)
    _due: dict[str, float] = field(init=False, repr=False, compare=False, default_factory=dict)
    _waiting: dict[str, Frame] = field(init=False, repr=False, compare=False, default_factory=dict)
    _files: dict[Path, ReplacedFile] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        fits = check_pattern(self.path) and Path(self.path).suffix.lower() in _SUFFIXES
        self.require("path", fits, 'a path like "{camera}.jpg" or "{camera}.png"')
        self.require("every", all_hold(self.every, lambda seconds: seconds >= 0), "a number of seconds from 0")
        self._paths = OutputPaths(self.path)

    def check_outputs(self, cameras: Sequence[str]) -> None:
        self._paths.check(cameras)

    def write(self, frame: Frame, /) -> None:
        """Write the frame when it is time, else keep it in case it is the last."""
        camera, now = frame.origin.camera, time.monotonic()
        self._waiting[camera] = frame
        if now >= self._due.get(camera, now):
            self._due[camera] = now + of_camera(self.every, camera, _EVERY)
            self.end(camera)

    def end(self, camera: str) -> None:
        """Write the camera's newest frame unless it is written."""
        if camera in self._waiting:
            self._save(self._waiting.pop(camera))

    def written(self) -> Sequence[Path]:
        """The files written so far that are still there."""
        return existing(self._files)

    def close(self) -> None:
        """Let the files go."""
        for file in self._files.values():
            file.close()

    def _save(self, frame: Frame) -> None:
        import cv2

        path = self._paths.of(frame.origin.camera)
        _, data = cv2.imencode(path.suffix, frame.image)
        file = self._files.setdefault(path, ReplacedFile("Snapshot.path", path))
        with writing(path):
            file.write(data.tobytes())
