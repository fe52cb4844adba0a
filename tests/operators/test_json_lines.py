import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from flowedge import ConfigError, Detections, Event, Origin
from flowedge.operators import JSONLines
from flowedge.outputs import OutputError


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def found(camera: str, index: int, count: int = 1) -> Detections:
    origin = Origin(camera, index=index, time=100.5 + index)
    boxes = [[1.234567, 2, 30, 40]] * count
    return Detections(origin, boxes, [0.87654321] * count, [1] * count, names=("car", "person"))


def open_files() -> set[str]:
    links = (Path("/proc/self/fd") / name for name in os.listdir("/proc/self/fd"))
    return {os.readlink(link) for link in links if link.is_symlink()}


def test_one_line_a_frame_also_for_an_empty_one(tmp_path: Path) -> None:
    sink = JSONLines(str(tmp_path / "new" / "found.jsonl"))
    sink.write(found("north", 0))
    sink.write(found("north", 1, 0))
    thing = {"box": [1.23, 2.0, 30.0, 40.0], "score": 0.8765, "class": 1, "name": "person"}
    assert lines(tmp_path / "new" / "found.jsonl") == [
        {"camera": "north", "session": 0, "frame": 0, "time": 100.5, "objects": [thing]},
        {"camera": "north", "session": 0, "frame": 1, "time": 101.5, "objects": []},
    ]
    sink.close()


def test_events_have_a_line_each(tmp_path: Path) -> None:
    sink = JSONLines(str(tmp_path / "events.jsonl"))
    facts = {"gate in": 3, "open": True, "who": None, "crossed": "Zoë #7 gate in", "part": 0.5}
    sink.write(Event(Origin("north", index=4, time=2.25), "crossing", facts))
    sink.write(Event(Origin("north", index=5), "counts"))
    assert lines(tmp_path / "events.jsonl") == [
        {"camera": "north", "session": 0, "frame": 4, "time": 2.25, "event": "crossing", "data": facts},
        {"camera": "north", "session": 0, "frame": 5, "time": 0.0, "event": "counts", "data": {}},
    ]
    sink.close()


def test_cameras_share_a_file_or_have_their_own(tmp_path: Path) -> None:
    for pattern in ("all.jsonl", "{camera}.jsonl"):
        sink = JSONLines(str(tmp_path / pattern))
        for camera in ("north", "south"):
            sink.write(found(camera, 0))
        sink.close()
    assert [line["camera"] for line in lines(tmp_path / "all.jsonl")] == ["north", "south"]
    assert [line["camera"] for line in lines(tmp_path / "south.jsonl")] == ["south"]
    assert list(sink.written()) == [tmp_path / "north.jsonl", tmp_path / "south.jsonl"]


def test_a_dash_is_the_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    sink = JSONLines("-")
    sink.write(found("north", 3))
    assert json.loads(capsys.readouterr().out)["frame"] == 3
    assert sink.written() == ()


def test_a_path_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"file/found\.jsonl: cannot be written"):
        JSONLines(str(tmp_path / "file" / "found.jsonl")).write(found("north", 0))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
def test_a_full_disk_is_one_sentence() -> None:
    sink = JSONLines("/dev/full")
    with pytest.raises(OutputError, match="no space left"):
        sink.write(found("north", 0))
    sink.close()


@pytest.mark.parametrize("path", ["", "{cam}.jsonl", "{camera.jsonl"])
def test_a_bad_pattern_is_refused(path: str) -> None:
    with pytest.raises(ConfigError, match=r"JSONLines\.path"):
        JSONLines(path)


def test_a_reader_that_has_gone_ends_it_with_one_sentence() -> None:
    code = """
from flowedge import Detections, Origin, UserError
from flowedge.operators import JSONLines
input()
try:
    JSONLines("-").write(Detections(Origin("north"), [[1, 2, 3, 4]], [1], [0]))
except UserError as error:
    raise SystemExit(str(error))
"""
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", code], stdin=pipe, stdout=pipe, stderr=pipe, text=True) as run:
        assert run.stdin
        assert run.stdout
        assert run.stderr
        run.stdout.close()
        run.stdin.write("go\n")
        run.stdin.close()
        assert run.stderr.read() == "-: the reader of the standard output has gone\n"
    assert run.returncode == 1


def test_the_file_of_a_camera_that_has_ended_is_let_go(tmp_path: Path) -> None:
    sink = JSONLines(str(tmp_path / "{camera}.jsonl"))
    for index in range(2):
        sink.write(found("north", index))
        sink.end("north")
        sink.end("south")
        assert str(tmp_path / "north.jsonl") not in open_files()
    assert [line["frame"] for line in lines(tmp_path / "north.jsonl")] == [0, 1]


def test_a_file_of_all_cameras_stays_open_when_one_ends(tmp_path: Path) -> None:
    sink = JSONLines(str(tmp_path / "all.jsonl"))
    sink.write(found("north", 0))
    sink.end("north")
    with pytest.raises(ConfigError, match="another sink"):
        JSONLines(str(tmp_path / "all.jsonl")).write(found("north", 0))
    sink.close()
