"""The JSON form of a value: what `flowedge tap` prints, `JSONLines` writes and a web page gets.

Every value is one object. It begins with where the value comes from:

    key             content
    camera          name of the camera
    session         grows by one at each reconnect of the camera, from 0
    frame           index of the frame in the camera's stream, from 0
    time            capture time in seconds since 1970, to the microsecond
    size            [width, height] of the camera's picture in pixels, where it is known
    tile            [number, count] where the frame was split: which part this is, from 0

and goes on with what the value is:

    value           keys
    Detections      objects: a list with, for each object, box ([x1, y1, x2, y2] in source pixels, to 0.01),
                    score (0..1, to 4 digits), class (the index of its name) and name, and attributes (an
                    object: what operators added to it, by name) where there are any; region
                    ([x1, y1, x2, y2]) where only a part of the picture was looked at; missing (a list of such
                    rectangles) where parts that should have been looked at were lost
    Tracks          as Detections, and for each object its id
    Faces           as Detections: after `Watchlist` the name is the person's; embeddings and landmarks, which
                    only programs want, are left to the wire form (`flowedge.wire.blocks`)
    Event           event: what kind of thing happened; data: its facts by name
    Frame           picture: [width, height] of the picture itself; region as above, always
    Packet          codec, bytes (their number), keyframe
    Absent          absent ("filtered", "dropped" or "failed"), cause, place (the operator)

A pair, as `join` makes it, is a list of two such objects. JSON has no NaN and no infinity: a time or a fact of
an event that is not finite is null.
"""

from __future__ import annotations

import json
import math
from typing import Any, TypeAlias

import numpy as np

from flowedge.values import Absent, Detections, Event, Frame, Origin, Packet, Tracks, Value

JSON: TypeAlias = Any
"""What the json module reads and writes."""

_encode = json.JSONEncoder(allow_nan=False).encode


def as_json(value: Value | tuple[Value, Value]) -> JSON:
    """The value, or the pair of values, in its JSON form.

    >>> as_json(Event(Origin("north", time=9.5), "door", {"open": True}))
    {'camera': 'north', 'session': 0, 'frame': 0, 'time': 9.5, 'event': 'door', 'data': {'open': True}}
    """
    if isinstance(value, tuple):
        return [as_json(half) for half in value]
    return _origin(value.origin) | _content(value)


def json_line(value: Value | tuple[Value, Value]) -> str:
    """The JSON form as one line of text that ends with a line feed.

    >>> tracks = Tracks(Origin("north", index=7), [[1, 2, 3.456, 4]], [0.5], [0], ("car",), ids=[3])
    >>> print(json_line(tracks), end="")
    {"camera": "north", "session": 0, "frame": 7, "time": 0.0, "objects": [{"box": [1.0, 2.0, 3.46, 4.0], \
"score": 0.5, "class": 0, "name": "car", "id": 3}]}
    """
    return _encode(as_json(value)) + "\n"


def _origin(origin: Origin) -> dict[str, JSON]:
    head: dict[str, JSON] = {
        "camera": origin.camera,
        "session": origin.session,
        "frame": origin.index,
        "time": _finite(round(origin.time, 6)),
    }
    if origin.width and origin.height:
        head["size"] = [origin.width, origin.height]
    if origin.tiles > 1:
        head["tile"] = [origin.tile, origin.tiles]
    return head


def _content(value: Value) -> dict[str, JSON]:
    match value:
        case Detections():
            return _detections(value)
        case Event():
            return {"event": value.kind, "data": _finite(dict(value.data))}
        case Frame():
            return {"picture": [value.width, value.height], "region": list(value.region)}
        case Packet():
            return {"codec": value.parameters.codec, "bytes": len(value.data), "keyframe": value.keyframe}
        case Absent():
            return {"absent": value.outcome.value, "cause": value.cause, "place": value.place}


def _detections(value: Detections) -> dict[str, JSON]:
    columns: dict[str, list[Any]] = {
        # As doubles: a float32 that is rounded prints as 235.3000030517578.
        "box": np.round(value.boxes.astype(float), 2).tolist(),
        "score": np.round(value.scores.astype(float), 4).tolist(),
        "class": value.classes.tolist(),
        "name": value.labels,
    }
    if isinstance(value, Tracks):
        columns["id"] = value.ids.tolist()
    if value.attributes:
        texts = [_finite(column.tolist()) for column in value.attributes.values()]
        columns["attributes"] = [
            dict(zip(value.attributes, row, strict=True)) for row in zip(*texts, strict=True)
        ]
    rows = zip(*columns.values(), strict=True)
    content: dict[str, JSON] = {"objects": [dict(zip(columns, row, strict=True)) for row in rows]}
    if value.region is not None:
        content["region"] = list(value.region)
    if value.missing:
        content["missing"] = [list(rect) for rect in value.missing]
    return content


def _finite(fact: JSON) -> JSON:
    """The same with null for each number that is not finite."""
    if isinstance(fact, dict):
        return {key: _finite(item) for key, item in fact.items()}
    if isinstance(fact, list | tuple):
        return [_finite(item) for item in fact]
    return None if isinstance(fact, float) and not math.isfinite(fact) else fact
