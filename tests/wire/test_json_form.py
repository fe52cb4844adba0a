"""The JSON form: one for every value, and JSON in the strict sense."""

from __future__ import annotations

import json
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from flowedge import Absent, CodecParameters, Detections, Event, Faces, Frame, Origin, Packet, Tracks
from flowedge.values import Outcome
from flowedge.wire.blocks import decode, encode
from flowedge.wire.json_form import as_json, json_line

NORTH = Origin("north", session=2, index=7, time=1_700_000_000.1234567, width=640, height=360)
HEAD = {"camera": "north", "session": 2, "frame": 7, "time": 1_700_000_000.123457, "size": [640, 360]}


def strictly_read(line: str) -> Any:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(line, parse_constant=refuse)


def test_objects_are_rounded_to_what_they_mean() -> None:
    value = Detections(NORTH, [[235.3, 1.23456, 300, 40]], [0.87654321], [1], ("car", "person"))
    thing = {"box": [235.3, 1.23, 300.0, 40.0], "score": 0.8765, "class": 1, "name": "person"}
    assert as_json(value) == HEAD | {"objects": [thing]}
    assert "235.3," in json_line(value)


def test_tracks_have_ids_and_faces_have_names() -> None:
    tracks = Tracks(NORTH, [[1, 2, 3, 4]] * 2, [1, 1], [0, 0], ids=[7, 2**40])
    assert [thing["id"] for thing in as_json(tracks)["objects"]] == [7, 2**40]
    assert as_json(tracks)["objects"][0]["name"] == "class 0"
    faces = Faces(NORTH, [[1, 2, 3, 4]], [1], [1], ("unknown", "Zoë"), embeddings=np.ones((1, 128)))
    assert as_json(faces)["objects"] == [{"box": [1, 2, 3, 4], "score": 1, "class": 1, "name": "Zoë"}]


def test_tiles_are_told_apart_and_lost_ones_named() -> None:
    tile = Origin("north", tile=2, tiles=4)
    of_tile = as_json(Detections(tile, [], [], [], region=(0, 0, 320, 180)))
    assert (of_tile["tile"], of_tile["region"], "missing" in of_tile) == ([2, 4], [0, 0, 320, 180], False)
    of_frame = as_json(Detections(NORTH, [], [], [], missing=((0, 0, 9, 9),)))
    assert (of_frame["missing"], "tile" in of_frame, "region" in of_frame) == ([[0, 0, 9, 9]], False, False)


def test_a_source_of_unknown_size_has_none() -> None:
    assert "size" not in as_json(Event(Origin("north"), "door"))


def test_what_is_not_finite_is_null() -> None:
    nan = float("nan")
    event = Event(Origin("north", time=nan), "speed", {"gate": nan, "top": -float("inf"), "note": "NaN"})
    line = strictly_read(json_line(event))
    assert (line["time"], line["data"]) == (None, {"gate": None, "top": None, "note": "NaN"})


@pytest.mark.parametrize(
    ("value", "content"),
    [
        (
            Event(NORTH, "crossing", {"in": 3, "who": None}),
            {"event": "crossing", "data": {"in": 3, "who": None}},
        ),
        (Frame(NORTH, np.zeros((180, 320, 3), np.uint8)), {"picture": [320, 180], "region": [0, 0, 640, 360]}),
        (
            Packet(NORTH, np.zeros(5, np.uint8), CodecParameters("h264"), True, Fraction(1, 90_000)),
            {"codec": "h264", "bytes": 5, "keyframe": True},
        ),
        (
            Absent(NORTH, Outcome.DROPPED, "newer frame", "Detect"),
            {"absent": "dropped", "cause": "newer frame", "place": "Detect"},
        ),
    ],
    ids=["event", "frame", "packet", "absent"],
)
def test_every_other_value_has_its_content_after_its_origin(value: Any, content: dict[str, object]) -> None:
    assert strictly_read(json_line(value)) == HEAD | content
    assert as_json(decode(bytes(encode(value)))) == HEAD | content


def test_a_pair_is_a_list_of_two_and_a_value_one_line() -> None:
    pair = (Event(NORTH, "a\nb"), Event(NORTH, "c"))
    assert json_line(pair).count("\n") == 1
    assert [half["event"] for half in strictly_read(json_line(pair))] == ["a\nb", "c"]


def test_attributes_stand_with_each_object() -> None:
    found = Detections(Origin("north"), [[0, 0, 9, 9]] * 2, [0.5] * 2, [0] * 2).with_attributes(
        plate=["A", "B"], speed=[1.5, float("nan")]
    )
    told = [item["attributes"] for item in as_json(found)["objects"]]
    assert told == [{"plate": "A", "speed": 1.5}, {"plate": "B", "speed": None}]


def test_lists_in_events() -> None:
    assert as_json(Event(Origin("north"), "zones", {"ids": (1, 2)}))["data"] == {"ids": [1, 2]}
