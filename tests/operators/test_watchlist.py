"""Watchlist: with faces that a picture's colours stand for, and with real ones where there are."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from flowedge import ConfigError, Faces, Frame, Origin
from flowedge.inference.models import FOLDERS_VARIABLE
from flowedge.operators import DetectFaces, EmbedFaces, JSONLines, Watchlist
from flowedge.operators.draw import Draw
from flowedge.operators.watchlist import identities
from flowedge.testing import run_operator

NORTH = Origin("north", width=640, height=480)
SIDE = 100

# Who looks like what: blue, green, red.
ADA, BOB, EVE = (200, 0, 0), (0, 200, 0), (0, 0, 200)


@dataclass
class SeeSquares:
    """Stands in for DetectFaces: each square of the picture that is not black is a face."""

    model: str

    def setup(self) -> None: ...
    def close(self) -> None: ...

    def process(self, frame: Frame) -> Faces:
        boxes = [
            (x, y, x + SIDE, y + min(SIDE, frame.height))
            for y in range(0, frame.height, SIDE)
            for x in range(0, frame.width, SIDE)
            if frame.image[y, x].any()
        ]
        return Faces(frame.origin, boxes, [0.9] * len(boxes), [0] * len(boxes), ("face",))


@dataclass
class EmbedColours:
    """Stands in for EmbedFaces: a face's embedding is its colour."""

    model: str

    def setup(self) -> None: ...
    def close(self) -> None: ...

    def process(self, pair: tuple[Frame, Faces]) -> Faces:
        frame, faces = pair
        return seen(*(frame.image[int(y), int(x)] for x, y, _, _ in faces.boxes))


@pytest.fixture(autouse=True)
def _colours_for_faces(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "real" not in request.fixturenames:
        monkeypatch.setattr("flowedge.operators.watchlist.DetectFaces", SeeSquares)
        monkeypatch.setattr("flowedge.operators.watchlist.EmbedFaces", EmbedColours)


def seen(*colours: object) -> Faces:
    """Faces with these colours for embeddings."""
    rows = np.array(colours, np.float32).reshape(-1, 3)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    boxes = [[100 * i, 0, 100 * i + 80, 90] for i in range(len(rows))]
    return Faces(NORTH, boxes, [0.9] * len(rows), [0] * len(rows), ("face",), embeddings=rows)


Enrol = Callable[..., Path]


@pytest.fixture
def enrol(tmp_path: Path) -> Enrol:
    """Writes pictures of squares: `enrol({"ada.png": [ADA]})`."""

    def write(pictures: dict[str, list[tuple[int, int, int]]], height: int = SIDE) -> Path:
        folder = tmp_path / "people"
        folder.mkdir(exist_ok=True)
        for name, colours in pictures.items():
            row = [np.full((height, SIDE, 3), colour, np.uint8) for colour in colours]
            path = folder / name
            path.parent.mkdir(exist_ok=True)
            cv2.imwrite(str(path), np.hstack(row))
        return folder

    return write


def named(people: Path, faces: Faces, **fields: float) -> Faces:
    [result] = run_operator(Watchlist(people, **fields), [faces])  # type: ignore[arg-type]
    return result


def test_the_known_have_names_and_others_are_unknown(enrol: Enrol) -> None:
    people = enrol({"bob.png": [BOB], "ada.png": [ADA]})
    faces = seen(EVE, ADA, (10, 200, 10), (100, 100, 250))
    result = named(people, faces)
    assert result.labels == ["unknown", "ada", "bob", "unknown"]
    assert result.names == ("unknown", "ada", "bob")
    np.testing.assert_allclose(result.scores, [0, 1, 0.9975, 0.348], atol=1e-3)
    assert result.boxes is faces.boxes
    assert result.embeddings is faces.embeddings


def test_several_pictures_of_a_person_in_a_folder_of_their_own(enrol: Enrol) -> None:
    people = enrol({"ada/1.png": [ADA], "ada/2.PNG": [EVE], "ada.png": [(200, 0, 200)], "bob.png": [BOB]})
    for colour in (ADA, EVE, (200, 0, 200)):
        result = named(people, seen(colour))
        assert result.labels == ["ada"]
        assert result.scores[0] > 0.999  # of the picture that is most alike
    assert result.names == ("unknown", "ada", "bob")


def test_a_person_is_in_a_frame_once_and_the_best_match_has_the_name(enrol: Enrol) -> None:
    people = enrol({"ada.png": [ADA], "bob.png": [BOB]})
    nearly, better = (200, 80, 0), (200, 20, 0)
    assert named(people, seen(nearly, better)).labels == ["unknown", "ada"]
    assert named(people, seen(better, nearly, BOB)).labels == ["ada", "unknown", "bob"]
    assert named(people, seen(ADA, ADA)).labels == ["ada", "unknown"]


def test_the_threshold_decides(enrol: Enrol) -> None:
    people, half = enrol({"ada.png": [ADA]}), seen((100, 173, 0))  # a cosine of 0.5
    assert named(people, half, threshold=0.49).labels == ["ada"]
    assert named(people, half, threshold=0.51).labels == ["unknown"]


def test_each_camera_has_its_own_threshold(enrol: Enrol) -> None:
    people, faces = enrol({"ada.png": [ADA]}), seen((200, 110, 110))  # a cosine of 0.79
    south = replace(faces, origin=replace(faces.origin, camera="south"))
    step = Watchlist(people, threshold={"north": 0.7, "south": 0.9})
    assert [result.labels for result in run_operator(step, [faces, south])] == [["ada"], ["unknown"]]
    with pytest.raises(ConfigError, match=r"Watchlist\.threshold: \{'north': 1\.5\} is not a cosine"):
        Watchlist(people, threshold={"north": 1.5})


def test_frames_without_faces(enrol: Enrol) -> None:
    people = enrol({"ada.png": [ADA]})
    for nobody in (seen(), Faces(NORTH, [], [], [])):
        result = named(people, nobody)
        assert (len(result), result.names) == (0, ("unknown", "ada"))


def test_the_result_can_be_drawn_and_written(enrol: Enrol, capsys: pytest.CaptureFixture[str]) -> None:
    result = named(enrol({"ada.png": [ADA]}), seen(ADA, BOB))
    frame = Frame(NORTH, np.zeros((480, 640, 3), np.uint8))
    assert run_operator(Draw(), [(frame, result)])[0].image.any()
    JSONLines("-").write(result)
    assert '"name": "ada"' in capsys.readouterr().out


def test_faces_that_cannot_be_compared_are_refused(enrol: Enrol) -> None:
    people = enrol({"ada.png": [ADA]})
    bare = Faces(NORTH, [[0, 0, 9, 9]], [0.9], [0])
    with pytest.raises(ConfigError, match=r"of 0 numbers, .*: put EmbedFaces\(\) before it"):
        named(people, bare)
    other = Faces(NORTH, [[0, 0, 9, 9]], [0.9], [0], embeddings=np.ones((1, 512)))
    with pytest.raises(ConfigError, match=r"of 512 numbers, .* of 3: give EmbedFaces the model mobilefacenet"):
        named(people, other)


@pytest.mark.parametrize(
    ("pictures", "sentence"),
    [
        (
            {"ada.png": [(0, 0, 0)]},
            r'people/ada\.png" shows no face: take a picture of the person',
        ),
        ({"ada.png": [ADA, BOB]}, r'people/ada\.png" shows 2 faces: cut it down'),
        ({"ada/1.png": [ADA], "ada/2.png": [ADA] * 3}, r'people/ada/2\.png" shows 3 faces'),
        (
            {},
            r'the folder ".*people" holds no \.jpg, \.jpeg, \.png, .*\.tiff pictures: put into it a picture',
        ),
        ({"unknown.png": [ADA]}, r'people/unknown\.png" must have another name'),
    ],
)
def test_a_picture_that_cannot_be_enrolled_is_named(
    enrol: Enrol, pictures: dict[str, list[tuple[int, int, int]]], sentence: str
) -> None:
    with pytest.raises(ConfigError, match=rf"^Watchlist\.people: .*{sentence}") as caught:
        Watchlist(enrol(pictures)).setup()
    assert "\n" not in str(caught.value)


def test_a_face_too_small_to_be_told_from_others_is_named(enrol: Enrol) -> None:
    with pytest.raises(ConfigError, match=r'ada\.png" shows a face 50 pixels high: take one of 80 or more'):
        Watchlist(enrol({"ada.png": [ADA]}, height=50)).setup()


def test_a_folder_that_is_not_as_it_should_be_is_named(enrol: Enrol, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r'there is no folder ".*nowhere": make it, with a picture for each'):
        Watchlist(str(tmp_path / "nowhere")).setup()
    people = enrol({"ada.png": [ADA]})
    (people / "notes.txt").write_text("not a picture")
    (people / ".hidden.png").write_text("not a picture")
    Watchlist(people).setup()
    (people / "bob").mkdir()
    with pytest.raises(ConfigError, match=r'the folder ".*people/bob" holds no \.jpg'):
        Watchlist(people).setup()
    (people / "bob" / "1.jpg").write_text("not a picture")
    with pytest.raises(ConfigError, match=r'people/bob/1\.jpg" is not a picture that OpenCV can read'):
        Watchlist(people).setup()


@pytest.mark.parametrize("threshold", [0.0, 1.1, -0.5])
def test_a_threshold_out_of_range_is_refused(threshold: float) -> None:
    with pytest.raises(ConfigError, match=r"Watchlist\.threshold: .* is not a cosine above 0 and up to 1"):
        Watchlist("people", threshold=threshold)


def test_identities_against_a_slow_reading_of_the_rule() -> None:
    random = np.random.default_rng(5)
    for _ in range(200):
        cosines = random.uniform(-1, 1, random.integers((0, 1), (9, 5))).astype(np.float32)
        classes, scores = identities(cosines, 0.3)
        for face, row in enumerate(cosines):
            person = int(row.argmax())
            rivals = [other for other in cosines if other.argmax() == person and other[person] > row[person]]
            wanted = person + 1 if row[person] >= 0.3 and not rivals else 0
            assert classes[face] == wanted
            assert scores[face] == max(0, row.max())


# ---------------------------------------------------------------- real faces

PEOPLE = {
    "obama": ("obama.jpg", "obama2.jpg"),
    "biden": ("biden.jpg",),
    "lacamoire": ("alex-lacamoire.png",),
    "miranda": ("lin-manuel-miranda.png",),
}
IN_TWO_PEOPLE, IN_CLIP = {"obama", "biden"}, {"miranda", "lacamoire", "obama"}


@pytest.fixture(scope="module")
def real() -> Path:
    """The folder of pictures and the clip."""
    models = os.environ.get(FOLDERS_VARIABLE, "").split(os.pathsep)
    for name in ("yunet.onnx", "mobilefacenet.onnx"):
        if not any(Path(each, name).is_file() for each in models):
            pytest.skip(f"{FOLDERS_VARIABLE} names no folder with {name}")
    folder = Path(os.environ.get("FLOWEDGE_DATA", ""), "faces")
    if not (folder / "short_hamilton_clip.mp4").is_file():
        pytest.skip("FLOWEDGE_DATA names no folder with faces/short_hamilton_clip.mp4")
    return folder


def folder_of(real: Path, folder: Path, people: set[str]) -> Path:
    """A watchlist of these people."""
    for person in people:
        (folder / person).mkdir(parents=True)
        for name in PEOPLE[person]:
            (folder / person / name).symlink_to(real / name)
    return folder


def embedded(images: list[NDArray[np.uint8]]) -> list[Faces]:
    frames = [
        Frame(Origin("north", index=index, width=image.shape[1], height=image.shape[0]), image)
        for index, image in enumerate(images)
    ]
    return run_operator(EmbedFaces(), list(zip(frames, run_operator(DetectFaces(), frames), strict=True)))


@pytest.fixture(scope="module")
def clip(real: Path) -> list[Faces]:
    """The faces in every fifth frame of the clip."""
    capture = cv2.VideoCapture(str(real / "short_hamilton_clip.mp4"))
    images = []
    while (taken := capture.read())[0]:
        images.append(np.asarray(taken[1], np.uint8))
    return embedded(images[::5])


def test_who_is_in_two_people_is_found(real: Path, tmp_path: Path) -> None:
    faces = embedded([np.asarray(cv2.imread(str(real / "two_people.jpg")), np.uint8)])
    [result] = run_operator(Watchlist(folder_of(real, tmp_path / "people", set(PEOPLE))), faces)
    assert result.select(np.argsort(result.boxes[:, 0])).labels == ["obama", "biden"]


def test_who_sings_in_the_clip_is_found(real: Path, clip: list[Faces], tmp_path: Path) -> None:
    results = run_operator(Watchlist(folder_of(real, tmp_path / "people", set(PEOPLE))), clip)
    near = [result.labels for result in results if 87 <= result.origin.index <= 211]
    assert sum("miranda" in labels for labels in near) >= 0.4 * len(near)


@pytest.mark.parametrize("left_out", sorted(PEOPLE))
def test_who_is_not_enrolled_is_nobody_else(
    real: Path, clip: list[Faces], tmp_path: Path, left_out: str
) -> None:
    people = folder_of(real, tmp_path / "people", set(PEOPLE) - {left_out})
    stills = embedded([np.asarray(cv2.imread(str(real / name)), np.uint8) for name in PEOPLE[left_out]])
    for result in run_operator(Watchlist(people), stills):
        assert result.labels == ["unknown"]
    for result in run_operator(Watchlist(people), clip):
        assert set(result.labels) <= {"unknown", *(IN_CLIP - {left_out})}
    two = embedded([np.asarray(cv2.imread(str(real / "two_people.jpg")), np.uint8)])
    [result] = run_operator(Watchlist(people), two)
    assert set(result.labels) - {"unknown"} == IN_TWO_PEOPLE - {left_out}
