"""Values: what is read only, what rows keep when they are selected, and the columns of faces."""

from __future__ import annotations

from collections.abc import Callable

import av
import numpy as np
import pytest

from flowedge import Detections, Event, Faces, Frame, Origin, Tracks
from flowedge.values import InvalidValueError

NORTH = Origin("north")
BOXES = [[0, 0, 9, 9], [5, 5, 20, 20]]


def faces(**columns: object) -> Faces:
    return Faces(NORTH, BOXES, [0.9, 0.8], [0, 0], ("face",), **columns)  # type: ignore[arg-type]


def test_faces_need_neither_embeddings_nor_landmarks() -> None:
    bare = faces()
    assert (bare.embeddings.shape, bare.landmarks.shape) == ((2, 0), (2, 0, 2))
    assert (bare.embeddings.dtype, bare.landmarks.dtype) == (np.float32, np.float32)
    assert bare.select([True, False]).landmarks.shape == (1, 0, 2)
    none = Faces(NORTH, [], [], [], embeddings=[], landmarks=[])
    assert (none.embeddings.shape, none.landmarks.shape) == ((0, 0), (0, 0, 2))


def test_landmarks_and_embeddings_follow_their_faces() -> None:
    points = np.arange(20).reshape(2, 5, 2)
    chosen = faces(embeddings=np.eye(2), landmarks=points).select([1])
    assert chosen.landmarks.tolist() == points[1:].tolist()
    assert chosen.embeddings.tolist() == [[0, 1]]
    nobody = chosen.select([])
    assert (nobody.embeddings.shape, nobody.landmarks.shape) == ((0, 2), (0, 5, 2))


def decoded() -> Frame:
    planes = np.full((12, 8), 128, np.uint8)
    return Frame(NORTH, av.VideoFrame.from_ndarray(planes, format="yuv420p"))


def given() -> Frame:
    return Frame(NORTH, np.zeros((8, 8, 3), np.uint8))


@pytest.mark.parametrize("make", [decoded, given])
def test_pixels_are_read_only_however_one_comes_by_them(make: Callable[[], Frame]) -> None:
    frame = make()
    crop = frame.crop((2, 2, 6, 6))
    changed = frame.image.copy()
    views = (frame.image, frame.bgr(8, 8), frame.bgr(4, 4), crop.image, frame.replace(image=changed).image)
    for view in views:
        with pytest.raises(ValueError, match="read-only"):
            view[:] = 0
    assert np.shares_memory(crop.image, frame.image)


def test_an_array_given_as_a_picture_is_not_copied_and_stays_as_it_is() -> None:
    image = np.zeros((8, 8, 3), np.uint8)
    frame = Frame(NORTH, image)
    assert frame.image is frame.picture
    assert np.shares_memory(frame.image, image)
    assert image.flags.writeable


def test_attributes_are_typed_read_only_and_selected() -> None:
    found = Detections(Origin("north"), [[0, 0, 9, 9]] * 2, [0.5] * 2, [0] * 2).with_attributes(
        parked=[True, False], axles=[2, 3], speed=[1.5, 2], plate=["A", "BC"]
    )
    kinds = {name: column.dtype.kind + str(column.itemsize) for name, column in found.attributes.items()}
    assert kinds == {"parked": "b1", "axles": "i8", "speed": "f4", "plate": "U8"}
    last = found.select([1]).attributes
    assert {name: column.tolist() for name, column in last.items()} == {
        "parked": [False],
        "axles": [3],
        "speed": [2.0],
        "plate": ["BC"],
    }
    with pytest.raises(ValueError, match="read-only"):
        found.attributes["axles"][0] = 7
    with pytest.raises(TypeError):
        found.attributes["axles"] = np.zeros(2)


def test_selected_rows_are_read_only_and_keep_every_field():
    missing, region, names = ((0, 0, 1, 1),), (0, 0, 9, 9), ("a", "b")
    tracks = Tracks(Origin("north"), BOXES, [0.5, 1], [0, 1], names, missing, region, [7, 8])
    tracks = tracks.with_attributes(colour=["red", "blue"])
    chosen = tracks.select(tracks.scores > 0.6)
    assert (chosen.ids.tolist(), chosen.attributes["colour"].tolist()) == ([8], ["blue"])
    assert (chosen.names, chosen.missing, chosen.region) == (tracks.names, tracks.missing, tracks.region)
    columns = (chosen.boxes, chosen.scores, chosen.classes, chosen.ids, chosen.attributes["colour"])
    assert not any(column.flags.writeable for column in columns)
    with pytest.raises(InvalidValueError, match=r"select: a list of rows is needed, shape \(\) was given"):
        tracks.select(1)


@pytest.mark.parametrize("column", [np.array([1 << 63], np.uint64), [1e300], [-1e39]])
def test_an_attribute_that_would_become_another_number_is_refused(column):
    with pytest.raises(InvalidValueError, match=r"attributes\['size'\]: .* needed, .* was given"):
        Detections(Origin("north"), [[0, 0, 9, 9]], [0.5], [0]).with_attributes(size=column)


@pytest.mark.parametrize("text", ["B\ud800", "\udcff.jpg"])
def test_a_text_that_no_wire_can_carry_is_refused_where_it_is_given(text):
    """As `os.listdir` and `bytes.decode(errors="surrogateescape")` give them for what is no UTF-8."""
    objects = Detections(Origin("north"), [[0, 0, 9, 9]], [0.5], [0])
    with pytest.raises(InvalidValueError, match=r"attributes\['plate'\]: Unicode texts are needed"):
        objects.with_attributes(plate=[text])
    for data in ({"plate": text}, {"plates": ["B", text]}, {text: 1}):
        with pytest.raises(InvalidValueError, match=r"^Event.data\[.*\]: Unicode texts are needed"):
            Event(Origin("north"), "seen", data)


@pytest.mark.filterwarnings("error")
def test_a_box_too_large_for_its_column_is_refused_without_a_warning():
    with pytest.raises(InvalidValueError, match=r"Detections.boxes: finite .* in row 0"):
        Detections(Origin("north"), [[0, 0, 1e39, 9]], [0.5], [0])


def test_an_event_holds_plain_values():
    given = {"a": np.float32(0.5), "b": np.array([1, 2]), "c": [np.int64(3), None, "x"], "d": np.bool_(True)}
    data = Event(Origin("north"), "seen", given).data
    assert data == {"a": 0.5, "b": (1, 2), "c": (3, None, "x"), "d": True}
    assert [type(value) for value in data.values()] == [float, tuple, tuple, bool]
    assert type(data["c"][0]) is int


@pytest.mark.parametrize(
    "data", [{"x": {}}, {"x": b"y"}, {"x": [[1]]}, {"x": 1 << 63}, {"x": np.eye(2)}, {1: 2}]
)
def test_an_event_refuses_what_has_no_form_elsewhere(data):
    with pytest.raises(InvalidValueError, match=r"^Event.data\[.*\]: a text, a number"):
        Event(Origin("north"), "seen", data)
