"""One writer for each file, whatever path leads to it; devices, pipes and links stay what they are."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from flowedge import ConfigError
from flowedge.outputs import InputFiles, LineFiles, OutputError, ReplacedFile, check_pattern

WRITER = """
import sys
from pathlib import Path
from flowedge.outputs import LineFiles
LineFiles("Other.path").write(Path(sys.argv[1]), "theirs\\n")
print("ready", flush=True)
sys.stdin.read()
"""


def lines(path: Path, text: str = "ours\n") -> LineFiles:
    files = LineFiles("JSONLines.path")
    files.write(path, text)
    return files


def test_a_second_run_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    command = [sys.executable, "-c", WRITER, str(path)]
    other = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None
    assert other.stdout.readline() == "ready\n"
    with pytest.raises(ConfigError, match="is being written by another sink or another run"):
        lines(path)
    with pytest.raises(ConfigError, match="is being written by another sink or another run"):
        ReplacedFile("--report", path).write(b"ours")
    assert path.read_text() == "theirs\n"
    other.kill()
    other.communicate()
    lines(path).close()
    assert path.read_text() == "ours\n"
    assert [file.name for file in tmp_path.iterdir()] == ["out.jsonl"]


@pytest.mark.parametrize("link", ["hardlink_to", "symlink_to"])
def test_a_file_is_known_by_more_than_its_path(link: str, tmp_path: Path) -> None:
    path, alias = tmp_path / "a.txt", tmp_path / "b.txt"
    files = lines(path)
    getattr(alias, link)(path)
    with pytest.raises(ConfigError, match=r'JSONLines\.path: "[^"]*b\.txt" is being written'):
        lines(alias)
    files.close()


def test_what_is_being_read_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(b"source")
    reading = InputFiles()
    reading.add(path)
    with pytest.raises(ConfigError, match="is the video being read"):
        ReplacedFile("Snapshot.path", path).write(b"new")
    reading.close()
    assert path.read_bytes() == b"source"
    ReplacedFile("Snapshot.path", path).write(b"new")
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["a.jpg"]


def test_two_writers_do_not_replace_one_file(tmp_path: Path) -> None:
    first, second = (ReplacedFile("Snapshot.path", tmp_path / "a.jpg") for _ in range(2))
    first.write(b"1")
    first.write(b"2")
    with pytest.raises(ConfigError, match="is being written by another sink or another run"):
        second.write(b"3")
    first.close()
    second.write(b"3")
    assert (tmp_path / "a.jpg").read_bytes() == b"3"


def test_what_a_killed_process_left_is_in_nobodys_way(tmp_path: Path) -> None:
    (tmp_path / "victim").write_bytes(b"kept")
    (tmp_path / ".a.jpg.part").symlink_to(tmp_path / "victim")
    ReplacedFile("Snapshot.path", tmp_path / "a.jpg").write(b"1")
    assert sorted(os.listdir(tmp_path)) == ["a.jpg", "victim"]
    assert (tmp_path / "victim").read_bytes() == b"kept"


def test_a_link_stays_and_what_it_names_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "real.json").write_bytes(b"old")
    link = tmp_path / "link.json"
    link.symlink_to("real.json")
    ReplacedFile("--report", link).write(b"new")
    assert link.is_symlink()
    assert (tmp_path / "real.json").read_bytes() == b"new"


def test_a_device_is_written_to_and_stays(tmp_path: Path) -> None:
    device = tmp_path / "device"
    device.symlink_to("/dev/null")
    ReplacedFile("--report", device).write(b"gone")
    lines(device).close()
    assert device.is_symlink()
    assert device.is_char_device()
    assert os.listdir(tmp_path) == ["device"]
    with pytest.raises(OSError, match="No space left"):
        ReplacedFile("--report", Path("/dev/full")).write(b"text")


def test_standard_output_in_a_file_keeps_what_was_written(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; from flowedge.outputs import ReplacedFile; print('before', flush=True);"
        "ReplacedFile('--report', Path('/dev/stdout')).write(b'report\\n'); print('after')"
    )
    with (tmp_path / "out.txt").open("ab") as out:  # as a shell does for >>
        subprocess.run([sys.executable, "-c", code], stdout=out, check=True)
    assert (tmp_path / "out.txt").read_text().splitlines() == ["before", "report", "after"]
    assert os.listdir(tmp_path) == ["out.txt"]


def test_a_pipe_is_written_to_where_somebody_reads_it(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(OutputError, match="no process reads this pipe"):
        lines(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    lines(pipe).close()
    ReplacedFile("--report", pipe).write(b"report")
    assert os.read(reader, 100) == b"ours\nreport"
    os.close(reader)
    assert pipe.is_fifo()


def test_a_pipe_or_a_missing_file_is_no_input_to_protect(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    reading = InputFiles()
    for name in ("pipe", "missing", ""):
        reading.add(tmp_path / name)  # does not wait for a writer
    reading.close()


def test_a_folder_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(OutputError, match="Is a directory"):
        lines(folder)
    with pytest.raises(IsADirectoryError):
        ReplacedFile("--report", folder).write(b"text")
    assert os.listdir(tmp_path) == ["folder"]


def test_a_folder_that_vanishes_is_the_error_that_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "rec"
    folder.mkdir()
    files, replaced = lines(folder / "a.txt"), ReplacedFile("Snapshot.path", folder / "a.jpg")
    replaced.write(b"1")
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    with pytest.raises(OutputError, match=r"a\.txt: cannot be written: No such file or directory"):
        files.write(folder / "a.txt", "lost\n")
    with pytest.raises(FileNotFoundError):
        replaced.write(b"2")
    assert files.paths() == ()


def test_a_picture_of_a_folder_being_read_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "0.jpg").write_bytes(b"source")
    reading = InputFiles()
    reading.add(tmp_path)
    with pytest.raises(ConfigError, match="is one of the pictures being read"):
        ReplacedFile("Snapshot.path", tmp_path / "0.jpg").write(b"new")
    assert (tmp_path / "0.jpg").read_bytes() == b"source"
    ReplacedFile("Snapshot.path", tmp_path / "new.jpg").write(b"new")
    reading.close()
    ReplacedFile("Snapshot.path", tmp_path / "0.jpg").write(b"new")
    assert (tmp_path / "0.jpg").read_bytes() == b"new"


@pytest.mark.parametrize("pattern", ["{camera!r}.mp4", "{camera:>9}.mp4", "{{camera}}.mp4", "{}.mp4", "a{.mp4"])
def test_a_brace_that_would_stay_in_the_path_is_refused(pattern):
    assert not check_pattern(pattern)


def test_a_file_that_was_let_go_goes_on_behind_what_is_there(tmp_path):
    files, path = LineFiles("JSONLines.path"), tmp_path / "north.jsonl"
    files.write(path, "one\n")
    files.end(path)
    with path.open() as reader:
        fcntl.flock(reader, fcntl.LOCK_EX | fcntl.LOCK_NB)  # nobody holds it
    files.write(path, "two\n")
    files.close()
    assert path.read_text() == "one\ntwo\n"
