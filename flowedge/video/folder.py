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

_WITH_SEVERAL = (".png", ".webp", ".tif", ".tiff")  # formats of which one file may hold several pictures
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
        height, width = image.shape[:2]
        yield Frame(playback.origin(index, index / FPS, width, height), image)


def _images_of(path: Path) -> Iterator[NDArray[np.uint8] | None]:
    """The pictures in a file, one at a time; None for one that cannot be read."""
    import cv2

    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    yield None if image is None else np.asarray(image, np.uint8)
    if image is None or path.suffix.lower() not in _WITH_SEVERAL:
        return
    for number in range(1, cv2.imcount(str(path))):
        if path.suffix.lower() in (".tif", ".tiff"):
            is_read, images = cv2.imreadmulti(str(path), number, 1, flags=cv2.IMREAD_COLOR)
        else:  # of an animation `imreadmulti` gives the first picture again and again, or none
            is_read, animation = cv2.imreadanimation(str(path), number, 1)
            images = [
                cv2.cvtColor(item, cv2.COLOR_BGRA2BGR) if item.shape[2] == 4 else item
                for item in animation.frames
            ]
        yield np.asarray(images[0], np.uint8) if is_read and images else None


def _pictures_of(camera: str, folder: Path) -> list[Path]:
    """The pictures of a folder; tells what else is there. Reading what is no regular file might never end."""
    everything = sorted(folder.iterdir(), key=_natural)
    paths = [path for path in everything if path.suffix.lower() in PICTURE_SUFFIXES and path.is_file()]
    if not paths:
        raise SourceError(
            "not found", f"{camera}: the folder {folder} has no {', '.join(PICTURE_SUFFIXES)} pictures"
        )
    skipped = Counter(_kind(path) for path in everything if path not in set(paths))
    if skipped:
        told = ", ".join(f"{count} x {kind}" for kind, count in skipped.most_common())
        log.warning("%s: the folder %s has more than the pictures that are read: %s", camera, folder, told)
    return paths


def _kind(path: Path) -> str:
    if path.is_dir():
        return "folder"
    return (path.suffix.lower() or "no suffix") if path.is_file() else "no regular file"


def _natural(path: Path) -> list[tuple[int, str]]:
    """Sorts digits by the number that they write."""
    words = re.findall(r"\d+|\D+", path.name)
    return [(int(word), "") if word.isdecimal() else (-1, word.casefold()) for word in words]
