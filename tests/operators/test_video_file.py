import logging
import shutil
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from flowedge import ConfigError, Frame
from flowedge.operators import VideoFile
from flowedge.operators.video import Video
from flowedge.outputs import OutputError
from flowedge.testing import frames


def record(path: Path, source: list[Frame], **options: object) -> VideoFile:
    sink = VideoFile(str(path), preset="ultrafast", **options)
    sink.setup()
    for frame in source:
        sink.write(frame)
    sink.close()
    return sink


def played(path: Path) -> list[av.VideoFrame]:
    with av.open(str(path)) as container:
        return list(container.decode(video=0))


def times(path: Path) -> list[float]:
    return [round(float(frame.pts * frame.time_base), 3) for frame in played(path)]


def native(frame: Frame, picture_format: str = "yuv420p") -> Frame:
    picture = av.VideoFrame.from_ndarray(frame.image, "bgr24").reformat(format=picture_format)
    return Frame(frame.origin, picture)


def test_every_frame_is_there_at_its_time(tmp_path: Path) -> None:
    sink = record(tmp_path / "{camera}.mp4", frames(60, 64, 48))
    assert list(sink.written()) == [tmp_path / "camera.mp4"]
    assert times(tmp_path / "camera.mp4") == [round(i / 25, 3) for i in range(60)]
    with av.open(str(tmp_path / "camera.mp4")) as container:
        assert container.duration == pytest.approx(60 / 25 * 1e6, abs=1e4)


def test_dropped_frames_keep_real_time(tmp_path: Path) -> None:
    source = frames(30, 64, 48)
    record(tmp_path / "out.mp4", source[:5] + source[20:22])
    assert times(tmp_path / "out.mp4") == [0, 0.04, 0.08, 0.12, 0.16, 0.8, 0.84]


def test_a_given_rate_is_constant(tmp_path: Path) -> None:
    record(tmp_path / "out.mp4", frames(30, 64, 48)[::7], fps=10)
    assert times(tmp_path / "out.mp4") == [0, 0.1, 0.2, 0.3, 0.4]


def test_clocks_that_stand_still_or_run_back_do_no_harm(tmp_path: Path) -> None:
    source = [
        Frame(replace(f.origin, media=m, time=0.0), f.picture)
        for f, m in zip(frames(4, 64, 48), (5, 5, 3, 4), strict=True)
    ]
    record(tmp_path / "out.mp4", source)
    found = times(tmp_path / "out.mp4")
    assert len(found) == 4
    assert found == sorted(found)


@pytest.mark.parametrize("picture_format", ["bgr24", "yuv420p", "yuvj420p", "nv12", "yuv422p"])
def test_pictures_keep_their_colours(tmp_path: Path, picture_format: str) -> None:
    [frame] = frames(1, 128, 96)
    shown = frame if picture_format == "bgr24" else native(frame, picture_format)
    record(tmp_path / "out.mp4", [shown] * 3, crf=5)
    found = Frame(frame.origin, played(tmp_path / "out.mp4")[0]).image
    assert np.abs(found.astype(int) - frame.image).mean() < 3


def test_the_decoders_picture_is_not_touched(tmp_path: Path) -> None:
    frame = native(frames(1, 64, 48)[0])
    frame.picture.pts = 1234
    record(tmp_path / "out.mp4", [frame])
    assert frame.picture.pts == 1234


@pytest.mark.parametrize("decoded", [False, True])
def test_odd_sizes_lose_their_last_row_and_column(tmp_path: Path, decoded: bool) -> None:
    source = frames(3, 65, 49)
    record(tmp_path / "out.mp4", [native(f) for f in source] if decoded else source)
    assert {(f.width, f.height) for f in played(tmp_path / "out.mp4")} == {(64, 48)}


def test_a_new_frame_size_is_scaled_and_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        record(tmp_path / "out.mp4", frames(5, 64, 48) + frames(10, 128, 96)[5:])
    found = played(tmp_path / "out.mp4")
    assert [(f.width, f.height) for f in found] == [(64, 48)] * 10
    assert caplog.text.count("frames are now 128 x 96, scaled to the file's 64 x 48") == 1


def test_a_run_that_switches_between_sizes_is_told_of_each_once(tmp_path: Path, caplog) -> None:
    small, large = frames(12, 64, 48), frames(12, 128, 96)
    with caplog.at_level(logging.WARNING):
        record(tmp_path / "out.mp4", [(large if n // 2 % 2 else small)[n] for n in range(12)])
    assert [record.message.partition("frames")[2] for record in caplog.records] == [
        " are now 128 x 96, scaled to the file's 64 x 48"
    ]


def test_each_camera_has_its_file_or_an_error_says_how(tmp_path: Path) -> None:
    north, south = frames(1, 64, 48, "north"), frames(1, 64, 48, "south")
    sink = record(tmp_path / "{camera}" / "out.mp4", north + south)
    assert list(sink.written()) == [tmp_path / "north/out.mp4", tmp_path / "south/out.mp4"]
    with pytest.raises(ConfigError, match=r"cameras north and south.*out-\{camera\}\.mp4"):
        record(tmp_path / "out.mp4", north + south)


def test_a_camera_that_comes_back_does_not_overwrite_itself(tmp_path: Path) -> None:
    sink = VideoFile(str(tmp_path / "{camera}.mp4"), preset="ultrafast")
    for _ in range(3):
        for frame in frames(3, 64, 48, "north"):
            sink.write(frame)
        sink.end("north")
    assert [path.name for path in sink.written()] == ["north.mp4", "north-2.mp4", "north-3.mp4"]
    assert [len(played(path)) for path in sink.written()] == [3, 3, 3]


def test_ending_without_a_frame_writes_nothing(tmp_path: Path) -> None:
    sink = VideoFile(str(tmp_path / "out.mp4"))
    sink.end("north")
    sink.close()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"file/out\.mp4: cannot be written"):
        record(tmp_path / "file" / "out.mp4", frames(1, 64, 48))


@pytest.mark.parametrize("setting", [{"path": "a.avi"}, {"crf": 60}, {"fps": 0}, {"preset": "fastest"}])
def test_impossible_settings_are_refused(setting: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=f"VideoFile.{next(iter(setting))}"):
        VideoFile(**{"path": "a.mp4"} | setting)


_WRITER = """
import os, resource, signal, sys
import numpy as np
from flowedge import UserError
from flowedge.operators import VideoFile
from flowedge.testing import frames
path, limit, killed_after = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
if limit:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
noise = np.random.default_rng(0)
sink = VideoFile(path, preset="ultrafast")
try:
    for count, frame in enumerate(frames(300, 160, 128)):
        if count == killed_after:
            os.kill(os.getpid(), signal.SIGKILL)
        sink.write(frame.replace(image=noise.integers(0, 255, (128, 160, 3), np.uint8)))
except UserError as error:
    sink.close()
    sys.exit(str(error))
"""


def run_writer(path: Path, *, limit: int = 0, killed_after: int = -1) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", _WRITER, str(path), str(limit), str(killed_after)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def test_a_killed_process_leaves_all_but_the_last_seconds(tmp_path: Path) -> None:
    done = run_writer(tmp_path / "out.mp4", killed_after=180)
    assert done.returncode == -signal.SIGKILL
    assert 180 - 55 <= len(played(tmp_path / "out.mp4")) <= 180


def test_a_full_disk_ends_with_one_sentence_and_a_whole_file(tmp_path: Path) -> None:
    done = run_writer(tmp_path / "out.mp4", limit=2_000_000)
    assert done.returncode == 1
    cause = "there is no space left for it; what was written before is whole"
    assert done.stderr.strip() == f"{tmp_path}/out.mp4: cannot be written: {cause}"
    assert len(played(tmp_path / "out.mp4")) >= 50


def test_a_path_with_a_colon_is_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    record(Path("10:15:00.mp4"), frames(3, 64, 48))
    assert len(played(tmp_path / "10:15:00.mp4")) == 3


@pytest.mark.parametrize("alias", ["path", "hard link", "symbolic link"])
def test_the_video_being_read_is_not_overwritten(
    alias: str, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(clip, "south.mp4")
    output = Path("./south.mp4" if alias == "path" else "out.mp4")
    if alias == "hard link":
        output.hardlink_to("south.mp4")
    elif alias == "symbolic link":
        output.symlink_to("south.mp4")
    source = Video({"north": "street://", "south": "south.mp4"})
    source.setup()
    with pytest.raises(ConfigError) as error:
        record(output, frames(1, 64, 48))
    assert str(error.value) == f'VideoFile.path: "{output}" is the video being read: choose another name'
    assert len(played(tmp_path / "south.mp4")) == 50
    source.close()
    record(output, frames(1, 64, 48))


def test_a_camera_that_is_read_without_setup_is_protected_too(clip: Path, tmp_path: Path) -> None:
    shutil.copy(clip, tmp_path / "south.mp4")
    source = Video({"south": str(tmp_path / "south.mp4")})
    source.read("south", threading.Event())
    with pytest.raises(ConfigError, match="is the video being read"):
        record(tmp_path / "south.mp4", frames(1, 64, 48))
    source.close()


def test_a_camera_that_comes_back_does_not_overwrite_the_video_being_read(clip: Path, tmp_path: Path) -> None:
    shutil.copy(clip, tmp_path / "out-2.mp4")
    source = Video({"south": str(tmp_path / "out-2.mp4")})
    source.setup()
    sink = VideoFile(str(tmp_path / "out.mp4"), preset="ultrafast")
    [frame] = frames(1, 64, 48)
    sink.write(frame)
    sink.end(frame.origin.camera)
    with pytest.raises(ConfigError, match=r"out-2\.mp4"):
        sink.write(frame)
    source.close()


def test_a_file_that_is_still_recorded_can_be_read(tmp_path: Path) -> None:
    sink = VideoFile(str(tmp_path / "out.mp4"), preset="ultrafast")
    for frame in frames(60, 64, 48):
        sink.write(frame)
    source = Video({"south": str(tmp_path / "out.mp4")})
    source.setup()
    assert next(iter(source.read("south", threading.Event()))).parameters.codec == "h264"
    source.close()
    sink.close()


@pytest.mark.parametrize("finished", [False, True])
def test_two_sinks_do_not_share_a_file(finished: bool, tmp_path: Path) -> None:
    first, second = (VideoFile(str(tmp_path / "out.mp4"), preset="ultrafast") for _ in range(2))
    pictures = frames(2, 64, 48)
    for frame in pictures:
        first.write(frame)
    if finished:
        first.end("camera")
    with pytest.raises(ConfigError, match="is being written by another sink or another run"):
        second.write(pictures[0])
    first.close()
    assert len(played(tmp_path / "out.mp4")) == 2


def test_a_folder_that_vanishes_is_one_error_and_no_file(tmp_path: Path) -> None:
    sink = VideoFile(str(tmp_path / "rec" / "out.mp4"), preset="ultrafast")
    pictures = frames(60, 64, 48)
    sink.write(pictures[0])
    shutil.rmtree(tmp_path / "rec")
    with pytest.raises(OutputError, match=r"out\.mp4: cannot be written: No such file or directory"):
        sink.write(pictures[1])  # the encoder holds one picture back at most
    assert sink.written() == ()
