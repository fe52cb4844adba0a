"""Read back as values the files that `JSONLines` and `MOTFile` wrote."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flowedge import Detections, Origin, Tracks, UserError
from tools.quality.sources import read_mot


def read_results(file: Path, camera: str, names: Sequence[str] = ()) -> list[Detections]:
    """What `JSONLines` (.jsonl, .json) or `MOTFile` (anything else) wrote, a value for each frame in the file.

    All frames get the camera's name, so a file holds one camera. A MOT file does not say classes: all its
    objects are of the only class in `names`; the identity -1 throughout means that there are none. Raises
    `UserError` for a file that is neither.
    """
    if file.suffix in (".jsonl", ".json"):
        return _json_lines(file, camera)
    if len(names) != 1:
        raise UserError(
            f"{file}: a MOT file does not say what its objects are, and {len(names)} classes count here; "
            f"name one with --classes, or write JSON lines"
        )
    frames = read_mot(file)
    tracked = any((rows[:, 6] != -1).any() for rows in frames.values())
    return [
        _mot_value(Origin(camera, index=index), rows, tuple(names), tracked) for index, rows in frames.items()
    ]


def _mot_value(origin: Origin, rows: NDArray[np.float64], names: tuple[str, ...], tracked: bool) -> Detections:
    scores = np.where(rows[:, 4] < 0, 1.0, rows[:, 4])  # -1 is what some trackers write for "not known"
    columns: dict[str, Any] = {"boxes": rows[:, :4], "scores": scores, "classes": rows[:, 5], "names": names}
    if tracked:
        columns["ids"] = rows[:, 6]
        return Tracks(origin, **columns)
    return Detections(origin, **columns)


def _json_lines(file: Path, camera: str) -> list[Detections]:
    values: dict[int, Detections] = {}
    cameras = set()
    try:
        lines = file.read_text().splitlines()
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror}") from error
    for number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line)
            cameras.add(record["camera"])
            values[record["frame"]] = _value(record, camera)
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{file}: line {number} is not what JSONLines writes: {error!r}") from None
    if len(cameras) > 1:
        raise UserError(f"{file}: holds the cameras {', '.join(sorted(cameras))}; put {{camera}} in its path")
    return list(values.values())


def _value(record: dict[str, Any], camera: str) -> Detections:
    things = record["objects"]
    names = tuple(dict.fromkeys(thing["name"] for thing in things))
    origin = Origin(camera, index=record["frame"], time=record["time"])
    columns: dict[str, Any] = {
        "boxes": [thing["box"] for thing in things],
        "scores": [thing["score"] for thing in things],
        "classes": [names.index(thing["name"]) for thing in things],
        "names": names,
    }
    if all("id" in thing for thing in things):
        columns["ids"] = [thing["id"] for thing in things]
        return Tracks(origin, **columns)
    return Detections(origin, **columns)
