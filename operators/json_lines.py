"""Detections, tracks and events as lines of JSON."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from flowedge import Detections, Event, Sink, Tracks
from flowedge.outputs import LineFiles, OutputError, OutputPaths, check_pattern

_encoded = json.JSONEncoder(allow_nan=False).encode


@dataclass
class JSONLines(Sink[Detections | Event]):
    """Write one line of JSON for each frame, also for one in which nothing was found, or for each event.

    `{camera}` in `path` makes one file for each camera; `-` is the standard output. `frame` counts from 0,
    `time` is the capture time in seconds since 1970, boxes are x1, y1, x2, y2 in source pixels, `class` is the
    index of `name` and `id` is there for `Tracks` only; `event` is the kind of an event and `data` its facts.
    A number that is not finite, also one of a box, is written as null: JSON has no NaN.
    Raises `OutputError` where the file cannot be written.

    >>> from flowedge import Origin
    >>> sink = JSONLines("-")
    >>> sink.write(Detections(Origin("north", time=9.5), [[1, 2, 3.456, 4]], [0.5], [0], names=("car",)))
    {"camera": "north", "frame": 0, "time": 9.5, "objects": [{"box": [1.0, 2.0, 3.46, 4.0], "score": 0.5, \
"class": 0, "name": "car"}]}
    >>> sink.write(Event(Origin("north", time=9.5), "door", {"open": True}))
    {"camera": "north", "frame": 0, "time": 9.5, "event": "door", "data": {"open": true}}
    """

    path: str
    _paths: OutputPaths = field(init=False, repr=False, compare=False)
    _files: LineFiles = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require("path", check_pattern(self.path), 'a path like "{camera}.jsonl", or "-"')
        self._paths = OutputPaths(self.path, shared=True)
        self._files = LineFiles("JSONLines.path")

    def write(self, found: Detections | Event, /) -> None:
        """Write the line of a frame or an event."""
        line = _line(_record(found))
        if self.path == "-":
            _print(line)
        else:
            self._files.write(self._paths.of(found.origin.camera), line)

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


def _line(record: dict[str, Any]) -> str:
    try:
        return _encoded(record) + "\n"
    except ValueError:  # it has a number that is not finite
        return _encoded(_with_null(record)) + "\n"


def _with_null(value: Any) -> Any:
    """The value with null for each number that is not finite."""
    if isinstance(value, dict):
        return {key: _with_null(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_with_null(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _record(found: Detections | Event) -> dict[str, Any]:
    facts = {"event": found.kind, "data": dict(found.data)} if isinstance(found, Event) else _objects(found)
    return {
        "camera": found.origin.camera,
        "frame": found.origin.index,
        "time": round(found.origin.time, 6),
        **facts,
    }


def _objects(found: Detections) -> dict[str, Any]:
    columns: dict[str, list[Any]] = {
        "box": np.round(found.boxes.astype(float), 2).tolist(),
        "score": np.round(found.scores.astype(float), 4).tolist(),
        "class": found.classes.tolist(),
        "name": found.labels,
    }
    if isinstance(found, Tracks):
        columns["id"] = found.ids.tolist()
    rows = zip(*columns.values(), strict=True)
    return {"objects": [dict(zip(columns, row, strict=True)) for row in rows]}
