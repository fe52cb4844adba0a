"""Small H.264 clips, made once a run (picture n is grey of luma 40 + 4 n), and photographs of faces."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from flowedge import Frame, Origin
from flowedge.inference.models import FOLDERS_VARIABLE

FPS = 25
MakeClip = Callable[..., Path]


@pytest.fixture(scope="session")
def make_clip(tmp_path_factory: pytest.TempPathFactory) -> MakeClip:
    """Write an H.264 clip: `make_clip("a.mp4", width=64, height=48, frames=50, b_frames=0)`."""
    folder = tmp_path_factory.mktemp("clips")

    def make(name: str, *, width: int = 64, height: int = 48, frames: int = 50, b_frames: int = 0) -> Path:
        path = folder / name
        with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
            stream = container.add_stream("libx264", rate=FPS)
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            stream.options = {"preset": "ultrafast", "g": "10", "bf": str(b_frames), "threads": "1"}
            for index in range(frames):
                planes = np.full((height * 3 // 2, width), 128, np.uint8)
                planes[:height] = 40 + 4 * index
                container.mux(stream.encode(av.VideoFrame.from_ndarray(planes, format="yuv420p")))
            container.mux(stream.encode())
        return path

    return make


@pytest.fixture(scope="session")
def clip(make_clip: MakeClip) -> Path:
    """64 x 48, 50 pictures, no B-frames."""
    return make_clip("plain.mp4")


@pytest.fixture(scope="session")
def b_clip(make_clip: MakeClip) -> Path:
    """64 x 48, 50 pictures, coded out of order."""
    return make_clip("reordered.mp4", b_frames=2)


@pytest.fixture(scope="session")
def face_photos() -> dict[str, Frame]:
    """Photographs of people by name; skips where they or the models of faces are not at hand."""
    folder = Path(os.environ.get("FLOWEDGE_DATA", ""), "faces")
    models = os.environ.get(FOLDERS_VARIABLE, "").split(os.pathsep)
    needed = ("yunet.onnx", "mobilefacenet.onnx")
    if not all(any(Path(place, name).is_file() for place in models) for name in needed):
        pytest.skip(f"{FOLDERS_VARIABLE} names no folder with {' and '.join(needed)}")
    if not (folder / "two_people.jpg").is_file():
        pytest.skip("FLOWEDGE_DATA names no folder with faces/two_people.jpg")
    frames = {}
    for path in folder.glob("*.[jp][pn]g"):
        image = np.asarray(cv2.imread(str(path)), np.uint8)
        origin = Origin(path.stem, width=image.shape[1], height=image.shape[0])
        frames[path.stem] = Frame(origin, image)
    return frames
