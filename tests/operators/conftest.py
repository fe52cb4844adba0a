"""Small H.264 clips, made once a run: picture n of a clip is grey of luma 40 + 4 n."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

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
