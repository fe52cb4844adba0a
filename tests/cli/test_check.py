"""flowedge check and the command itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

GRAPHS = Path(__file__).resolve().parents[2] / "graphs"
DETECT = str(GRAPHS / "detect.py")


def test_check_shows_operators_types_and_parameters(flowedge: Any) -> None:
    done = flowedge("check", DETECT, "events=e.jsonl")
    assert done.returncode == 0, done.stderr
    for word in ("video", "Decode", "Detect", "JSONLines", "Detections", "confidence"):
        assert word in done.stdout


def test_check_draws_mermaid(flowedge: Any) -> None:
    done = flowedge("check", DETECT, "output=o.mp4", "--mermaid")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("flowchart LR")
    assert "VideoFile" in done.stdout


def test_check_gives_json(flowedge: Any) -> None:
    done = flowedge("check", DETECT, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["name"] == "detect"


def test_help_names_every_command(flowedge: Any) -> None:
    done = flowedge("--help")
    assert done.returncode == 0
    for command in ("run", "check", "tap", "models"):
        assert command in done.stdout
        assert "Example: flowedge" in flowedge(command, "--help").stdout or command == "models"


def test_models_are_listed(flowedge: Any) -> None:
    done = flowedge("models", "list")
    assert done.returncode == 0, done.stderr
    assert "yolox_nano" in done.stdout


def test_a_missing_model_says_what_to_do(flowedge: Any) -> None:
    done = flowedge("models", "path", "yolo99")
    assert done.returncode == 1
    assert "FLOWEDGE_MODELS" in done.stderr


@pytest.mark.parametrize("option", [(), ("--json",), ("--mermaid",)])
def test_passwords_are_not_printed(flowedge: Any, option: tuple[str, ...]) -> None:
    (flowedge.folder / "cam.py").write_text(
        "from flowedge import Graph\n"
        "from flowedge.operators import Null, video\n"
        'graph = Graph("cam")\n'
        'video(graph, "rtsp://10.0.0.5/user=admin_password=hunter2_channel=1?usr=hunter2") >> Null()\n'
    )
    done = flowedge("check", "cam.py", *option)
    assert done.returncode == 0, done.stderr
    assert "hunter2" not in done.stdout + done.stderr


def test_an_unset_variable_names_its_camera_before_anything_starts(flowedge: Any) -> None:
    (flowedge.folder / "cam.py").write_text(
        "from flowedge import Graph\n"
        "from flowedge.operators import Null, video\n"
        'graph = Graph("cam")\n'
        'cameras = {"north": "street://?seconds=1", "south": "rtsp://admin:${NO_SUCH_PASS}@10.0.0.5/x"}\n'
        "video(graph, cameras) >> Null()\n"
    )
    done = flowedge("run", "cam.py")
    assert done.returncode == 1
    sentence = "error: south: rtsp://10.0.0.5/x: the environment variable NO_SUCH_PASS is not set"
    assert done.stderr.splitlines() == [sentence]
