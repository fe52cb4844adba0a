"""Detections, tracks and events as lines of JSON."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from flowedge import Detections, Event, Sink
from flowedge.outputs import LineFiles, OutputError, OutputPaths, check_pattern
from flowedge.wire.json_form import json_line


@dataclass
class JSONLines(Sink[Detections | Event]):
    """Write one line of JSON for each frame, also for one in which nothing was found, or for each event.

    `{camera}` in `path` makes one file for each camera; `-` is the standard output. `flowedge.wire.json_form`
    says what a line holds; boxes are x1, y1, x2, y2 in source pixels, `id` is there for `Tracks` only.
    Raises `OutputError` where the file cannot be written.

    >>> from flowedge import Origin
    >>> sink = JSONLines("-")
    >>> sink.write(Detections(Origin("north", time=9.5), [[1, 2, 3.456, 4]], [0.5], [0], names=("car",)))
    {"camera": "north", "session": 0, "frame": 0, "time": 9.5, "objects": [{"box": [1.0, 2.0, 3.46, 4.0], \
"score": 0.5, "class": 0, "name": "car"}]}
    >>> sink.write(Event(Origin("north", time=9.5), "door", {"open": True}))
    {"camera": "north", "session": 0, "frame": 0, "time": 9.5, "event": "door", "data": {"open": true}}
    """

    path_field = "path"

    path: str
    _paths: OutputPaths = field(init=False, repr=False, compare=False)
    _files: LineFiles = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require("path", check_pattern(self.path), 'a path like "{camera}.jsonl", or "-"')
        self._paths = OutputPaths(self.path, shared=True)
        self._files = LineFiles("JSONLines.path")

    def write(self, value: Detections | Event, /) -> None:
        """Write the line of a frame or an event."""
        line = json_line(value)
        if self.path == "-":
            _print(line)
        else:
            self._files.write(self._paths.of(value.origin.camera), line)

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


def _print(line: str) -> None:
    try:
        sys.stdout.write(line)
        sys.stdout.flush()
    except BrokenPipeError:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 1)  # for what is still buffered, which the interpreter writes at its end
        raise OutputError("-: the reader of the standard output has gone") from None
