"""flowedge check and the command itself."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

GRAPHS = Path(__file__).resolve().parents[2] / "graphs"
DETECT = str(GRAPHS / "detect.py")


def test_check_shows_operators_types_and_parameters(flowedge: Any) -> None:
    done = flowedge.process("check", DETECT, "events=e.jsonl")
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
    assert "exported by flowedge[yolo]" in done.stdout


def test_a_missing_model_says_what_to_do(flowedge: Any) -> None:
    done = flowedge("models", "path", "yolo99")
    assert done.returncode == 1
    assert "FLOWEDGE_MODELS" in done.stderr


def test_the_list_of_models_is_whole_where_a_program_reads_it(flowedge: Any) -> None:
    folder = flowedge.folder / "cache" / "flowedge" / "models"
    folder.mkdir(parents=True)
    name = "a_model_with_a_name_" + 5 * "and_more_of_it_"
    (folder / f"{name}.onnx").write_bytes(b"x")
    done = flowedge("models", "list")
    row = next(line for line in done.stdout.splitlines() if f" {name} " in line)
    assert flowedge("models", "path", name).stdout.strip() in row


PARAMETERS = """
from flowedge import Graph, param
from flowedge.operators import Null, Resize, video

source = param("source", "rtsp://me:secret@10.0.0.5/street", help="what to look at")
graph = Graph("parameters")
video(graph, source) >> Resize(param("width", 640, choices=(320, 640), help="pixels")) >> Null()
"""


def test_check_lists_parameters_and_keeps_passwords(flowedge: Any) -> None:
    (flowedge.folder / "graph.py").write_text(PARAMETERS)
    done = flowedge("check", "graph.py")
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines()]
    assert ["parameter", "type", "default", "choices", "help"] in rows
    assert ["source", "str", "rtsp://10.0.0.5/street", "what", "to", "look", "at"] in rows
    assert ["width", "int", "640", "320,", "640", "pixels"] in rows
    assert "width: 640, 320" in done.stdout
    data = json.loads(flowedge("check", "graph.py", "--json").stdout)
    assert data["parameters"][1] == {
        "name": "width", "type": "int", "default": 640, "choices": [320, 640], "help": "pixels",
    }  # fmt: skip
    for words in ([], ["--json"], ["--mermaid"], ["source=rtsp://you:secret@10.0.0.6/", "--json"]):
        assert "secret" not in flowedge("check", "graph.py", *words).stdout


def test_check_refuses_a_value_that_is_none_of_the_choices(flowedge: Any) -> None:
    (flowedge.folder / "graph.py").write_text(PARAMETERS)
    done = flowedge("check", "graph.py", "width=600")
    assert (done.returncode, done.stderr) == (
        1,
        "error: width=600: the choices are 320, 640; did you mean 640?\n",
    )


def test_the_version_is_said_by_package_command_and_metadata(flowedge: Any) -> None:
    import flowedge as package

    assert flowedge("--version").stdout == f"flowedge {package.__version__}\n"
    assert package.__version__ == version("flowedge")


def test_the_package_is_a_command(flowedge: Any) -> None:
    command = [sys.executable, "-m", "flowedge", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.stdout == flowedge("--version").stdout


def test_run_and_plan_are_public_and_cost_nothing_before_it_is_used() -> None:
    code = (
        "import sys, flowedge, flowedge.cli; assert not {'flowedge.runtime.run', 'numpy'} & set(sys.modules);"
        "from flowedge.runtime.run import Run; assert flowedge.Run is Run and 'Run' in dir(flowedge);"
        "from flowedge.planner import plan; assert flowedge.plan is plan and 'plan' in dir(flowedge)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


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
