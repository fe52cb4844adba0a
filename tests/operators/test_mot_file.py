from pathlib import Path

import pytest

from flowedge import ConfigError, Detections, Origin, Tracks
from flowedge.operators import MOTFile


def test_rows_are_as_benchmarks_read_them(tmp_path: Path) -> None:
    sink = MOTFile(str(tmp_path / "{camera}.txt"))
    sink.write(Tracks(Origin("north"), [[1, 2, 11, 22], [0.5, 0, 1, 1]], [0.5, 1], [0, 0], ids=[7, 8]))
    sink.write(Tracks(Origin("north", index=1), [], [], []))
    sink.write(Detections(Origin("north", index=2), [[1, 2, 11, 22]], [0.25], [0]))
    sink.close()
    assert (tmp_path / "north.txt").read_text() == (
        "1,7,1.00,2.00,10.00,20.00,0.5000,-1,-1,-1\n"
        "1,8,0.50,0.00,0.50,1.00,1.0000,-1,-1,-1\n"
        "3,-1,1.00,2.00,10.00,20.00,0.2500,-1,-1,-1\n"
    )


def test_a_camera_without_objects_has_an_empty_file(tmp_path: Path) -> None:
    sink = MOTFile(str(tmp_path / "{camera}.txt"))
    sink.write(Tracks(Origin("north"), [], [], []))
    assert list(sink.written()) == [tmp_path / "north.txt"]
    assert (tmp_path / "north.txt").read_text() == ""


def test_two_cameras_cannot_share_a_file(tmp_path: Path) -> None:
    sink = MOTFile(str(tmp_path / "out.txt"))
    sink.write(Tracks(Origin("north"), [], [], []))
    with pytest.raises(ConfigError, match=r"cameras north and south.*out-\{camera\}\.txt"):
        sink.write(Tracks(Origin("south"), [], [], []))
