"""Pictures as a video: one frame a picture, those of a folder in the order in which people count."""

from __future__ import annotations

import logging
import re
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flowedge import Absent, Frame, SourceError
from flowedge.outputs import PICTURE_SUFFIXES
from flowedge.values import Outcome
from flowedge.video.playback import Playback

_TIFF = (".tif", ".tiff")
_ANIMATED = (".png", ".webp")  # formats of which one file may hold several pictures, as TIFF's may
_JPEG, _START_OF_SCAN, _END_OF_IMAGE = b"\xff\xd8", b"\xff\xda", b"\xff\xd9"
FPS = 25  # frames per second of a folder, which has no time of its own

log = logging.getLogger("flowedge.camera")


def read_pictures(camera: str, path: Path, stop: threading.Event, *, paced: bool) -> Iterator[Frame | Absent]:
    """Yield a picture, or the pictures of a folder, "2.jpg" before "10.jpg", upright as EXIF says.

    A file of several pictures (an animated WebP, the pages of a TIFF) gives all of them. A picture that cannot
    be read is told and fails as one frame; what is skipped is told. Raises `SourceError` where there is no
    picture, or where none can be read.
    """
    paths = _pictures_of(camera, path) if path.is_dir() else [path]
    playback = Playback(camera, stop, paced=paced)
    has_one = False  # that can be read
    pictures = ((picture, image) for picture in paths for image in _images_of(picture))
    for index, (picture, image) in enumerate(pictures):
        if not playback.reaches(index / FPS):
            return
        if image is None:
            words = f"{camera}: {picture} is not a picture that OpenCV can read"
            if picture == paths[-1] and not has_one:
                raise SourceError("codec", words)
            log.error(words)
            origin = playback.origin(index, index / FPS, 0, 0)
            yield Absent(origin, Outcome.FAILED, "unreadable picture", "source")
            continue
        has_one = True
        if _is_cut_short(picture):
            log.warning("%s: %s is cut short: its lower part is missing", camera, picture)
        height, width = image.shape[:2]
        yield Frame(playback.origin(index, index / FPS, width, height), image)


def _images_of(path: Path) -> Iterator[NDArray[np.uint8] | None]:
    """The pictures in a file, one at a time; None for one that cannot be read."""
    import cv2

    if (
        path.suffix.lower() in _TIFF
    ):  # of which OpenCV's `imread` cannot read one that is to be turned by 90 degrees
        for number in range(max(1, cv2.imcount(str(path)))):
            is_read, images = cv2.imreadmulti(str(path), number, 1, flags=cv2.IMREAD_COLOR)
            yield np.asarray(images[0], np.uint8) if is_read and images else None
        return
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    yield None if image is None else np.asarray(image, np.uint8)
    if image is None or path.suffix.lower() not in _ANIMATED:
        return
    for number in range(
        1, cv2.imcount(str(path))
    ):  # `imreadmulti` gives the first one again and again, or none
        is_read, animation = cv2.imreadanimation(str(path), number, 1)
        frames = animation.frames
        if is_read and frames and frames[0].shape[2] == 4:
            frames = [cv2.cvtColor(frames[0], cv2.COLOR_BGRA2BGR)]
        yield np.asarray(frames[0], np.uint8) if is_read and frames else None


def _is_cut_short(path: Path) -> bool:
    """Whether a JPEG ends before its end marker: decoders then fill the rest of the picture with grey.

    Only what follows the start of the scan is searched, for a thumbnail before it has an end marker too
    (ISO/IEC 10918-1, B.1.1).
    """
    data = path.read_bytes()
    if not data.startswith(_JPEG):
        return False
    place = len(_JPEG)
    while (marker := data[place : place + 2]) and marker != _START_OF_SCAN and marker[0] == 0xFF:
        # What fills up to a marker counts one byte, a segment what it says.
        place += 1 if marker[1:] == b"\xff" else 2 + int.from_bytes(data[place + 2 : place + 4])
    return _END_OF_IMAGE not in data[place:]


def _pictures_of(camera: str, folder: Path) -> list[Path]:
    """The pictures of a folder; tells what else is there. Reading what is no regular file might never end."""
    everything = sorted(folder.iterdir(), key=_natural)
    paths = [path for path in everything if _is_picture(path)]
    if not paths:
        raise SourceError(
            "not found", f"{camera}: the folder {folder} has no {', '.join(PICTURE_SUFFIXES)} pictures"
        )
    skipped = Counter(_kind(path) for path in everything if path not in set(paths))
    if skipped:
        told = ", ".join(f"{count} x {kind}" for kind, count in skipped.most_common())
        log.warning("%s: the folder %s has more than the pictures that are read: %s", camera, folder, told)
    return paths


def _is_picture(path: Path) -> bool:
    """Whether a path is a picture by its name; hidden ones are notes of a Mac ("._1.jpg") or unfinished."""
    return path.suffix.lower() in PICTURE_SUFFIXES and not path.name.startswith(".") and path.is_file()


def _kind(path: Path) -> str:
    if path.name.startswith("."):
        return "hidden"
    if path.is_dir():
        return "folder"
    return (path.suffix.lower() or "no suffix") if path.is_file() else "no regular file"


def _natural(path: Path) -> list[tuple[int, str]]:
    """Sorts digits by the number that they write."""
    words = re.findall(r"\d+|\D+", path.name)
    return [(int(word), "") if word.isdecimal() else (-1, word.casefold()) for word in words]
