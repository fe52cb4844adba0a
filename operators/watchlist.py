"""Recognise faces: compare them with those of known people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flowedge import ConfigError, Faces, Frame, Operator, Origin
from flowedge.graph.per_camera import all_hold, of_camera
from flowedge.operators.detect_faces import DetectFaces
from flowedge.operators.embed_faces import EmbedFaces
from flowedge.outputs import PICTURE_SUFFIXES

UNKNOWN = "unknown"

_THRESHOLD = 0.5

_KINDS = ", ".join(PICTURE_SUFFIXES)
_SMALLEST = 80  # pixels that a face is high in the picture of a person; below, the blurred resemble each other


@dataclass
class Watchlist(Operator[Faces, Faces]):
    """Say which of the known people each face is: the classes become "unknown" and the people's names.

    `people` is a folder with a picture for each person, named by the person (`ada.jpg`), or a folder of
    pictures for each (`ada/1.jpg`, `ada/2.jpg`); both may be mixed. It is read once, when the operator starts,
    with DetectFaces(`detector`) and EmbedFaces(`model`), which must be the model that embedded the faces on the
    stream. Every picture shows one face, at least 80 pixels high.

    A score is the cosine (0..1) of the face and the most alike of a person's pictures. A face below `threshold`
    (which may be a mapping by camera name) for everybody is unknown. A person is in a frame once: the best
    match has the name, and another face that is most like the same person stays unknown, as it hardly is the
    second on the list.

    The default threshold was measured with MobileFaceNet. Two stills of one person gave 0.69 to 0.85; a singer
    filmed from near reached 0.5 in 66 of 125 frames and 0.45 in 100. 16 strangers from photographs of COCO
    reached 0.447 against the faces of other photographs and 0.461 against 632 faces of a video, so that 0.45
    would have been 12 false names, and 0.35 some 80. Blurred strangers resemble each other, up to
    0.76 where both faces are below 80 pixels, which is why small ones cannot be enrolled.

    Raises `ConfigError` for a threshold out of range; when it starts, for a folder that is not there or empty
    and a picture without a face, with several or with one too small; on a stream, for faces without embeddings.

    >>> Watchlist("people", threshold=0.6).threshold
    0.6
    """

    per_camera = ("threshold",)

    people: str | Path
    threshold: float | Mapping[str, float] = _THRESHOLD
    model: str = "mobilefacenet"
    detector: str = "yunet"
    _names: tuple[str, ...] = field(init=False, repr=False, compare=False)
    _known: NDArray[np.float32] = field(init=False, repr=False, compare=False)  # pictures x D, person by person
    _starts: NDArray[np.intp] = field(init=False, repr=False, compare=False)  # each person's first picture

    def __post_init__(self) -> None:
        super().__post_init__()
        in_range = all_hold(self.threshold, lambda cosine: 0 < cosine <= 1)
        self.require("threshold", in_range, "a cosine above 0 and up to 1")

    def setup(self) -> None:
        pictures = sorted(self._pictures())  # by person
        persons = [person for person, _ in pictures]
        names, self._starts = np.unique(persons, return_index=True)
        self._names = (UNKNOWN, *names.tolist())
        detect, embed = DetectFaces(self.detector), EmbedFaces(self.model)
        for step in (detect, embed):
            step.setup()
        try:
            rows = [embed.process(self._shown(path, detect)).embeddings for _, path in pictures]
        finally:
            for step in (detect, embed):
                step.close()
        self._known = np.concatenate(rows)

    def process(self, faces: Faces, /) -> Faces:
        """The same faces with people's names for classes."""
        wide, wanted = faces.embeddings.shape[1], self._known.shape[1]
        if len(faces) and wide != wanted:
            mend = "put EmbedFaces() before it" if wide == 0 else f"give EmbedFaces the model {self.model}"
            raise ConfigError(
                f"{self.name}: the faces have embeddings of {wide} numbers, the people of {wanted}: {mend}"
            )
        cosines = faces.embeddings.reshape(-1, wanted) @ self._known.T
        threshold = of_camera(self.threshold, faces.origin.camera, _THRESHOLD)
        classes, scores = identities(np.maximum.reduceat(cosines, self._starts, axis=1), threshold)
        return replace(faces, classes=classes, scores=scores, names=self._names)

    def _pictures(self) -> Iterator[tuple[str, Path]]:
        """Each picture in the folder and whom it shows."""
        folder = Path(self.people)
        example = f'a picture for each person, such as "{folder / "ada.jpg"}" or "{folder / "ada" / "1.jpg"}"'
        if not folder.is_dir():
            raise self._refused(f'there is no folder "{folder}": make it, with {example}')
        enrolled = [(path.stem, path) for path in _pictures_in(folder)]
        for person in folder.iterdir():
            if person.is_dir() and not person.name.startswith("."):
                of_person = [(person.name, path) for path in _pictures_in(person)]
                if not of_person:
                    raise self._refused(
                        f'the folder "{person}" holds no {_KINDS} pictures: add one or remove it'
                    )
                enrolled += of_person
        if not enrolled:
            raise self._refused(f'the folder "{folder}" holds no {_KINDS} pictures: put into it {example}')
        for name, path in enrolled:
            if name == UNKNOWN:
                raise self._refused(f'"{path}" must have another name: "{UNKNOWN}" stands for everybody else')
            yield name, path

    def _shown(self, path: Path, detect: DetectFaces) -> tuple[Frame, Faces]:
        """A person's picture and the one face in it."""
        import cv2

        image = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if image is None:
            raise self._refused(f'"{path}" is not a picture that OpenCV can read: save it as .jpg or .png')
        origin = Origin(path.stem, width=image.shape[1], height=image.shape[0])
        frame = Frame(origin, np.asarray(image, np.uint8))
        faces = detect.process(frame)
        if len(faces) == 0:
            raise self._refused(f'"{path}" shows no face: take a picture of the person from the front')
        if len(faces) > 1:
            raise self._refused(f'"{path}" shows {len(faces)} faces: cut it down to the person\'s own')
        height = round(float(faces.boxes[0, 3] - faces.boxes[0, 1]))
        if height < _SMALLEST:
            raise self._refused(f'"{path}" shows a face {height} pixels high: take one of {_SMALLEST} or more')
        return frame, faces

    def _refused(self, reason: str) -> ConfigError:
        return ConfigError(f"{self.name}.people: {reason}")


def identities(cosines: NDArray[np.float32], threshold: float) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Classes (0: unknown, k: person k - 1; N int32) and scores (N float32, 0..1) of faces.

    `cosines` is N x people. A face is the person that it is most like, if that is at least `threshold` and no
    other face is more like this person.

    >>> identities(np.array([[0.5, 0.6], [0.1, 0.8], [0.7, 0.2], [0.3, 0.1]], np.float32), 0.5)[0]
    array([0, 2, 1, 0], dtype=int32)
    """
    scores, best = cosines.max(axis=1), cosines.argmax(axis=1)
    order = np.argsort(-scores, kind="stable")
    _, firsts = np.unique(best[order], return_index=True)
    recognised = np.zeros(len(scores), bool)
    recognised[order[firsts]] = True
    recognised &= scores >= threshold
    return np.where(recognised, best + 1, 0).astype(np.int32), scores.clip(0, 1)


def _pictures_in(folder: Path) -> list[Path]:
    fits = (path for path in folder.iterdir() if path.suffix.lower() in PICTURE_SUFFIXES)
    return [path for path in fits if path.is_file() and not path.name.startswith(".")]
