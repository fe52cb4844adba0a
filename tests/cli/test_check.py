"""flowedge check and the command itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

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
