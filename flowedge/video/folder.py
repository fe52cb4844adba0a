"""A folder of pictures as a video: one frame a picture, in the order in which people count."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from flowedge import Frame, SourceError
from flowedge.video.playback import Playback

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp")
FPS = 25  # frames per second of a folder, which has no time of its own


def read_pictures(camera: str, folder: Path, stop: threading.Event, *, paced: bool) -> Iterator[Frame]:
    """Yield the pictures of a folder, "2.jpg" before "10.jpg"; raises `SourceError` for an unreadable one."""
    import cv2

    paths = sorted((path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES), key=_natural)
    if not paths:
        raise SourceError("not found", f"{camera}: the folder {folder} has no {', '.join(SUFFIXES)} pictures")
    playback = Playback(camera, stop, paced=paced)
    for index, path in enumerate(paths):
        image = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if image is None:
            raise SourceError("codec", f"{camera}: {path} is not a picture that OpenCV can read")
        if not playback.reaches(index / FPS):
            return
        height, width = image.shape[:2]
        yield Frame(playback.origin(index, index / FPS, width, height), np.asarray(image, np.uint8))


def _natural(path: Path) -> list[tuple[int, str]]:
    """Sorts digits by the number that they write."""
    words = re.findall(r"\d+|\D+", path.name)
    return [(int(word), "") if word.isdecimal() else (-1, word.casefold()) for word in words]
