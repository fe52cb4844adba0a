"""flowedge profile: the file it writes, what it prints, and what it refuses."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from flowedge.planner.files.inputs import profiles
from flowedge.planner.model.profiles import setting

SIZED = """
from flowedge import Graph, choose, param
from flowedge.operators import MotionDetect, Null, Resize, video

area = param("area", 50, choices=(50, 80), help="of the smallest object")
spare = param("spare", 1, choices=(1, 2), help="passed on to nobody")
shape = param("shape", "round", help="passed on to nobody, too")
graph = Graph("sized")
video(graph, "street://?width=320&height=240&people=3&vehicles=1&seconds=4&fps=5") >> Resize(
    choose("width", 80, 160, 320)
) >> MotionDetect(min_area=area) >> Null()
"""


@pytest.fixture
def sized(flowedge: Any) -> str:
    (flowedge.folder / "sized.py").write_text(SIZED)
    return "sized.py"


def test_every_setting_is_measured_and_written(flowedge: Any, sized: str) -> None:
    done = flowedge("profile", sized, "--output", "p.toml", "--frames", "8", "--cores", "0.1,1", "--kind", "pi")
    assert done.returncode == 0, done.stderr
    known = profiles(tomllib.loads((flowedge.folder / "p.toml").read_text()))
    resizing = [each for each in known.services if each.operator == "Resize"]
    assert {each.setting for each in resizing} == {
        setting(area=area, width=width) for area in (50, 80) for width in (80, 160, 320)
    }
    assert {each.kind for each in known.services} == {"pi"}
    assert {each.cores for each in known.services} <= {0.1, 1}
    assert known.bytes_of("Resize", setting(area=50, width=80)) < known.bytes_of(
        "Resize", setting(area=50, width=320)
    )
    assert "MotionDetect: service time" in done.stdout
    assert "RMSE" in done.stdout
    assert "left out, %" in done.stdout
    assert 'wrote p.toml: profiles for nodes of kind "pi"' in done.stdout


def test_knobs_and_parameters_may_be_narrowed(flowedge: Any, sized: str) -> None:
    words = (
        "--frames",
        "8",
        "--cores",
        "1",
        "--knob",
        "width=160",
        "--knob",
        "area=80,80",
        "--output",
        "p.json",
    )
    done = flowedge("profile", sized, *words)
    assert done.returncode == 0, done.stderr
    known = profiles(json.loads((flowedge.folder / "p.json").read_text()))
    assert {each.setting for each in known.services} == {setting(area=80, width=160)}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--output", "p.yaml"], "--output p.yaml: write a name that ends in .toml or .json"),
        (["--cores", "two"], "--cores two: write whole numbers"),
        (["--cores", "1.5"], "--cores 1.5: write whole numbers"),
        (["--cores", "4096"], "--cores 4096: this machine lets us use"),
        (["--knob", "witdh=80"], 'did you mean "width"?'),
        (["--knob", "width"], "--knob width: write NAME=V1,V2"),
        (["--knob", "width=81"], "--knob width=81: the graph lets you choose 80, 160, 320"),
        (["--output", "nowhere/p.toml"], "--output nowhere/p.toml: there is no folder nowhere"),
        (["--knob", "area=50", "--knob", "area=80"], "--knob area=80: area is given twice"),
        (["area=80", "--knob", "area=50,80"], "--knob area=50,80: area=80 is given too"),
        (["--knob", "area=soon"], "--knob area=soon: the graph lets you choose 50, 80"),
        (["--knob", "shape=square"], "--knob shape=square: the parameter declares no choices; write param("),
        (["area=soon"], "area=soon: a whole number is needed"),
        (["--knob", "spare=1"], "--knob spare=1: no operator of the graph has this parameter as a field"),
    ],
)
def test_a_mistake_is_one_clear_sentence(flowedge: Any, sized: str, words: list[str], said: str) -> None:
    done = flowedge("profile", sized, *words)
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(Path(flowedge.folder).glob("p*"))
