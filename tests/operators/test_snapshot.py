import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from flowedge import ConfigError, Frame
from flowedge.operators import Snapshot
from flowedge.outputs import OutputError
from flowedge.testing import frames


def shades(count: int, camera: str = "camera", size: tuple[int, int] = (64, 48)) -> list[Frame]:
    """Frames that are 10, 20, 30... bright."""
    return [
        f.replace(image=np.full_like(f.image, 10 * (1 + n))) for n, f in enumerate(frames(count, *size, camera))
    ]


def shade(path: Path) -> int:
    return int(cv2.imread(str(path)).mean().round())


def test_it_is_renewed_at_most_every_so_often(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 50.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    sink = Snapshot(str(tmp_path / "now.png"), every=1)
    seen = []
    for frame in shades(10):
        sink.write(frame)
        seen.append(shade(tmp_path / "now.png"))
        now += 0.4
    assert seen == [10, 10, 10, 40, 40, 40, 70, 70, 70, 100]


def test_the_last_frame_of_a_stream_is_kept(tmp_path: Path) -> None:
    sink = Snapshot(str(tmp_path / "{camera}.png"), every=1000)
    for frame in (*shades(3, "a"), *shades(4, "b")):
        sink.write(frame)
    sink.end("a")
    assert (shade(tmp_path / "a.png"), shade(tmp_path / "b.png")) == (30, 10)
    assert list(sink.written()) == [tmp_path / "a.png", tmp_path / "b.png"]


def test_whoever_looks_sees_a_whole_picture(tmp_path: Path) -> None:
    path, torn, done = tmp_path / "now.jpg", [], threading.Event()

    def look() -> None:
        while not done.is_set():
            if path.exists() and not path.read_bytes().endswith(b"\xff\xd9"):
                torn.append(path)

    watcher = threading.Thread(target=look)
    watcher.start()
    sink = Snapshot(str(path), every=0)
    for frame in shades(20, size=(1280, 720)):
        sink.write(frame)
    done.set()
    watcher.join()
    assert not torn
    assert [file.name for file in tmp_path.iterdir()] == ["now.jpg"]


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"file/now\.jpg: cannot be written"):
        Snapshot(str(tmp_path / "file" / "now.jpg")).write(shades(1)[0])


@pytest.mark.parametrize("path", ["now.gif", "now", "{x}.jpg"])
def test_other_formats_are_refused(path: str) -> None:
    with pytest.raises(ConfigError, match=r"Snapshot\.path"):
        Snapshot(path)
