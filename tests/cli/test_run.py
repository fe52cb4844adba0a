"""flowedge run: what it writes, says and returns, and what it leaves behind."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from pathlib import Path
from typing import Any

import av
import pytest

from tests.cli.conftest import SECONDS

GRAPHS = Path(__file__).resolve().parents[2] / "graphs"
QUICKSTART = str(GRAPHS / "quickstart.py")

ENDLESS = """
from flowedge import Graph, join
from flowedge.operators import Draw, MotionDetect, VideoFile, video
graph = Graph("endless")
frames = video(graph, "street://?live=1&width=320&height=240&seconds=600&people=2&vehicles=1")
join(frames, frames >> MotionDetect()) >> Draw() >> VideoFile("endless.mp4")
"""

BROKEN = """
from dataclasses import dataclass
from flowedge import Frame, Graph, Operator
from flowedge.operators import Null, video

@dataclass
class Broken(Operator[Frame, Frame]):
    def process(self, frame: Frame, /) -> Frame:
        raise RuntimeError("this never works")

graph = Graph("broken")
video(graph, "street://?width=160&height=120&seconds=2") >> Broken() >> Null()
"""


def frames_in(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


def balanced(report: dict[str, Any]) -> bool:
    for camera in report["cameras"].values():
        for counts in (camera, *camera["sinks"].values()):
            ended = (
                counts["delivered"] + counts["filtered"] + counts["failed"] + sum(counts["dropped"].values())
            )
            if counts["produced"] != ended + counts["in_flight"]:
                return False
    return True


def test_quickstart_makes_a_video_and_names_it(flowedge: Any) -> None:
    done = flowedge.process("run", QUICKSTART, "seconds=1.04", "--report", "report.json")
    assert done.returncode == 0, done.stderr
    assert done.stderr.rstrip().endswith("wrote quickstart.mp4")
    assert "quality of 13 frames" in done.stderr
    assert frames_in(flowedge.folder / "quickstart.mp4") == 13
    report = json.loads((flowedge.folder / "report.json").read_text())
    assert report["cameras"]["camera"]["delivered"] == 13
    assert balanced(report)
    assert report["operators"]["Draw"]["count"] == 13
    assert set(report["operators"]["Draw"]["service_ms"]) == {"p50", "p95", "p99"}
    assert report["peak_rss_bytes"] > 1e6
    assert report["cpu_seconds"] > 0


def test_frames_bounds_each_camera(flowedge: Any) -> None:
    done = flowedge.process("run", QUICKSTART, "--frames", "7")
    assert done.returncode == 0, done.stderr
    assert frames_in(flowedge.folder / "quickstart.mp4") == 7


def test_for_stops_a_live_graph_and_keeps_what_it_wrote(flowedge: Any) -> None:
    (flowedge.folder / "endless.py").write_text(ENDLESS)
    done = flowedge.process("run", "endless.py", "--for", "1s", "--report", "report.json")
    assert done.returncode == 0, done.stderr
    report = json.loads((flowedge.folder / "report.json").read_text())
    camera = report["cameras"]["camera"]
    assert balanced(report)
    assert camera["in_flight"] == 0
    assert frames_in(flowedge.folder / "endless.mp4") == camera["delivered"] > 0


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_signal_ends_a_run_cleanly(flowedge: Any, number: signal.Signals, code: int) -> None:
    (flowedge.folder / "endless.py").write_text(ENDLESS)
    process = flowedge.start("run", "endless.py")
    written = flowedge.folder / "endless.mp4"
    wait_for_line(process, "running endless")
    process.send_signal(number)
    _, errors = process.communicate(timeout=SECONDS)
    assert process.returncode == code, errors
    assert "Traceback" not in errors
    assert f"{number.name}: ending the run" in errors
    assert f"wrote {written.name}" in errors or "0 delivered" in errors
    assert not list(flowedge.folder.glob("flowedge-*/*"))


def wait_for_line(process: subprocess.Popen[str], text: str) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        if text in line:
            return
    raise AssertionError(f"the run ended without saying {text!r}")


def test_an_operator_that_always_fails_ends_the_run(flowedge: Any) -> None:
    (flowedge.folder / "broken.py").write_text(BROKEN)
    done = flowedge.process("run", "broken.py", "--report", "report.json")
    assert done.returncode == 1
    assert done.stderr.count("Traceback") == 1, done.stderr
    assert "Broken failed on 20 of 20 frames" in done.stderr
    report = json.loads((flowedge.folder / "report.json").read_text())
    assert balanced(report)
    assert report["cameras"]["camera"]["failed"] >= 20


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere.py"], "nowhere.py"),
        ([QUICKSTART, "secnods=3"], 'did you mean "seconds"?'),
        ([QUICKSTART, "seconds=soon"], "seconds=soon: a number is needed"),
        ([QUICKSTART, "seconds"], "NAME=VALUE"),
        ([QUICKSTART, "--for", "soon"], "--for soon"),
        ([QUICKSTART, "--report", "."], "--report .: is a folder"),
        ([QUICKSTART, "--profiles", "p.toml", "--fixed"], "--profiles p.toml: with --fixed or --plan nothing"),
        ([QUICKSTART, "--profiles", "p.toml"], "p.toml: cannot be read"),
        ([QUICKSTART, "--report", "nowhere/report.json"], "--report nowhere/report.json: its folder"),
        ([str(GRAPHS / "detect.py"), "model=yolo99"], "yolo99"),
        ([str(GRAPHS / "detect.py"), "source=nowhere.mp4", "confidence=2"], "Detect.confidence: 2.0"),
    ],
)
def test_a_mistake_is_one_clear_sentence(flowedge: Any, words: list[str], said: str) -> None:
    done = flowedge("run", *words)
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert [line for line in done.stderr.splitlines() if line.startswith("error: ")], done.stderr


LOADING = """
import threading
from dataclasses import dataclass
from flowedge import Frame, Graph, Operator
from flowedge.operators import Null, video

@dataclass
class Loading(Operator[Frame, Frame]):
    def setup(self) -> None:
        print("loading", flush=True)
        threading.Event().wait()

    def process(self, frame: Frame, /) -> Frame:
        return frame

graph = Graph("loading")
video(graph, "street://") >> Loading() >> Null()
"""


def test_a_run_can_be_stopped_while_operators_load(flowedge: Any) -> None:
    (flowedge.folder / "loading.py").write_text(LOADING)
    process = flowedge.start("run", "loading.py")
    assert process.stdout.readline() == "loading\n"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=SECONDS)
    assert process.returncode == 130, errors
    assert "stopped before it began" in errors
    assert "Traceback" not in errors


def test_what_is_said_stays_above_the_live_table(flowedge: Any) -> None:
    (flowedge.folder / "broken.py").write_text(BROKEN)
    screen = flowedge.on_terminal("run", "broken.py")
    assert "Broken failed: RuntimeError: this never works" in screen
    assert "running broken; tap it at" in screen


MISBEHAVING = """
import ctypes, sys, threading
from dataclasses import dataclass
from flowedge import Frame, Graph, Operator, param
from flowedge.operators import Null, video

@dataclass
class Misbehaving(Operator[Frame, Frame]):
    how: str

    def process(self, frame: Frame, /) -> Frame:
        if frame.origin.index < 5:
            return frame
        if self.how == "blocks":
            threading.Event().wait()
        if self.how == "crashes":
            ctypes.string_at(0)
        if self.how == "exits":
            sys.exit(0)
        return frame

    def close(self) -> None:
        if self.how == "cannot close":
            raise OSError("the lid is stuck")

graph = Graph("misbehaving")
video(graph, "street://?width=160&height=120&seconds=1") >> Misbehaving(param("how", "")) >> Null()
"""


@pytest.mark.parametrize(
    ("how", "code", "said"),
    [
        ("crashes", -signal.SIGSEGV, 'misbehaving.py", line 17 in process'),
        ("exits", 1, "error: Misbehaving: SystemExit: 0"),
        ("cannot close", 1, "error: Misbehaving could not be closed: OSError: the lid is stuck"),
    ],
)
def test_an_operator_that_misbehaves_is_named_and_changes_the_exit_code(
    flowedge: Any, how: str, code: int, said: str
) -> None:
    (flowedge.folder / "misbehaving.py").write_text(MISBEHAVING)
    done = flowedge.process("run", "misbehaving.py", f"how={how}")
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert how == "exits" or "Traceback" not in done.stderr


def test_a_run_whose_time_is_up_while_a_step_is_stuck_has_failed(flowedge: Any) -> None:
    (flowedge.folder / "misbehaving.py").write_text(MISBEHAVING)
    done = flowedge.process("run", "misbehaving.py", "how=blocks", "--for", "3s", "--report", "report.json")
    assert done.returncode == 1
    assert re.search(r"Misbehaving has been busy with frame 5 of camera for \d+ s\n", done.stderr)
    assert "error: Misbehaving has been busy with frame 5 of camera" in done.stderr
    report = json.loads((flowedge.folder / "report.json").read_text())
    assert balanced(report)
    assert "is left behind" in report["error"]


LONELY = """
from flowedge import Graph
from flowedge.operators import Null, video
graph = Graph("lonely")
video(graph, {"on": "street://?live=1&width=160&height=120", "off": "rtsp://127.0.0.1:9/stream"}) >> Null()
"""


def test_a_camera_that_was_never_attached_changes_the_exit_code(flowedge: Any) -> None:
    (flowedge.folder / "lonely.py").write_text(LONELY)
    done = flowedge.process("run", "lonely.py", "--for", "1s", "--report", "report.json")
    assert done.returncode == 1
    assert "off was never attached: connection refused at rtsp://127.0.0.1:9/stream" in done.stderr
    cameras = json.loads((flowedge.folder / "report.json").read_text())["cameras"]
    assert cameras["on"]["delivered"] > 0
    assert (cameras["on"]["error"], cameras["off"]["state"]) == (None, "ended")


KNOBS = """
from flowedge import Graph, choose, join
from flowedge.operators import JSONLines, MotionDetect, Resize, video
graph = Graph("knobs")
frames = video(graph, "street://?width=320&height=240&seconds=0.4&fps=25&people=2")
frames >> Resize(choose("width", 160, 80)) >> MotionDetect() >> JSONLines("{camera}.jsonl")
"""

ONE_NODE = """
tiers = ["edge"]
nodes = [{ name = "here", tier = "edge", kind = "this-machine", cores = 4 }]
cameras = [{ name = "street", node = "here", fps = 5 }]
"""

PROFILES = """
services = [
    { operator = "Resize", kind = "this-machine", cores = 1, time = "1 ms", setting = { width = 80 } },
    { operator = "MotionDetect", kind = "this-machine", cores = 1, time = "1 ms", setting = { width = 80 } },
]
"""


def planned(flowedge: Any) -> dict[str, Any]:
    """The plan of a graph for one node, where only the second value of its knob has profiles."""
    for name, text in (("knobs.py", KNOBS), ("one.toml", ONE_NODE), ("profiles.toml", PROFILES)):
        (flowedge.folder / name).write_text(text)
    files = ("--cluster", "one.toml", "--profiles", "profiles.toml")
    free = ("--assume-free", "Decode", "--assume-free", "JSONLines")
    done = flowedge("plan", "knobs.py", *files, *free, "--json")
    assert done.returncode == 0, done.stderr
    plan: dict[str, Any] = json.loads(done.stdout)
    return plan


def test_a_plan_is_run_as_it_was_written(flowedge: Any) -> None:
    plan = planned(flowedge)
    [resize] = [row for row in plan["deployments"] if row["operator"] == "Resize"]
    resize["replicas"] = 2
    (flowedge.folder / "plan.json").write_text(json.dumps(plan))
    done = flowedge.process("run", "knobs.py", "--plan", "plan.json", "--report", "report.json")
    assert done.returncode == 0, done.stderr
    report = json.loads((flowedge.folder / "report.json").read_text())
    assert report["cameras"]["camera"]["knobs"] == {"width": 80}
    assert report["cameras"]["camera"]["delivered"] == 10
    assert report["operators"]["Resize"]["workers"] == ["w1", "w2"]
    assert report["operators"]["MotionDetect"]["workers"] == []
    assert set(report["workers"]) == {"w1", "w2"}
    assert report["cpu_seconds"] > sum(worker["cpu_seconds"] for worker in report["workers"].values()) > 0
    assert balanced(report)
    assert "w1: " in done.stderr


def test_a_plan_that_does_not_fit_is_refused(flowedge: Any) -> None:
    plan = planned(flowedge)
    plan["routes"][0]["setting"]["width"] = 81
    (flowedge.folder / "plan.json").write_text(json.dumps(plan))
    done = flowedge("run", "knobs.py", "--plan", "plan.json")
    said = "error: plan.json: routes[0].setting.width: 81 is none of its choices 160, 80\n"
    assert (done.returncode, done.stderr) == (1, said)
    done = flowedge("run", "knobs.py", "--plan", "plan.json", "--strategy", "exact")
    assert done.stderr == "error: --strategy exact: --plan gives the plan already; leave one of them out\n"
