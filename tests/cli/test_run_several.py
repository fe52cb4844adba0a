"""flowedge run with several graphs: what it writes, says and returns."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.cli.test_run import BROKEN, balanced, wait_for_line

GRAPH = """
from flowedge import Graph, param
from flowedge.operators import JSONLines, MotionDetect, video
graph = Graph("{name}")
source = param("source", "street://?width=160&height=120&seconds=1")
video(graph, source) >> MotionDetect() >> JSONLines(param("output", "{name}.json"))
"""

LIVE = "street://?width=160&height=120&seconds=600&live=1&people=1&vehicles=0"


@pytest.fixture
def graphs(flowedge: Any) -> Any:
    for name in ("one", "two"):
        (flowedge.folder / f"{name}.py").write_text(GRAPH.format(name=name))
    (flowedge.folder / "broken.py").write_text(BROKEN)
    return flowedge


def reports(folder: Path) -> dict[str, Any]:
    return {report["graph"]: report for report in json.loads((folder / "r.json").read_text())["graphs"]}


def test_each_has_its_own_report_and_outputs(graphs: Any) -> None:
    short = "one.source=street://?width=160&height=120&seconds=0.4&fps=10"
    done = graphs.process("run", "one.py", "two.py", short, "--report", "r.json")
    assert done.returncode == 0, done.stderr
    told = reports(graphs.folder)
    assert list(told) == ["one", "two"]
    assert [report["cameras"]["camera"]["delivered"] for report in told.values()] == [4, 25]
    assert all(balanced(report) and report["decisions"] == [] for report in told.values())
    for name in told:
        assert f"wrote {name}.json" in done.stderr
        assert (graphs.folder / f"{name}.json").exists()


def test_one_that_fails_does_not_end_the_others(graphs: Any) -> None:
    done = graphs.process("run", "broken.py", "two.py", "--report", "r.json")
    assert done.returncode == 1
    assert "broken has failed: Broken failed on" in done.stderr
    assert "1 of 2 graphs failed: broken" in done.stderr
    told = reports(graphs.folder)
    assert told["two"]["cameras"]["camera"]["delivered"] == 25
    assert "Broken failed on" in told["broken"]["error"]


def test_a_signal_ends_all_of_them_cleanly(graphs: Any) -> None:
    process = graphs.start("run", "one.py", "two.py", f"source={LIVE}", "--report", "r.json")
    wait_for_line(process, "running ")
    wait_for_line(process, "running ")
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "SIGINT: ending all graphs" in errors
    assert "Traceback" not in errors
    told = reports(graphs.folder)
    assert all(balanced(report) for report in told.values())
    assert all(report["cameras"]["camera"]["in_flight"] == 0 for report in told.values())
    assert not list(graphs.folder.glob("flowedge-*/*"))


def test_time_is_up_for_all_of_them(graphs: Any) -> None:
    done = graphs.process("run", "one.py", "two.py", f"source={LIVE}", "--for", "1s")
    assert done.returncode == 0, done.stderr
    assert "wrote one.json" in done.stderr
    assert "wrote two.json" in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["one.py", "one.py"], "one.py: is given twice"),
        (["one.py", "two.py", "two.sorce=x"], "two.sorce: two.py has no such parameter; did you mean"),
        (["one.py", "two.py", "sorce=x"], "sorce: none of the graphs has such a parameter"),
        (["one.py", "two.py", "word"], "word: write parameters as NAME=VALUE"),
        (["one.py", "nowhere.py"], "nowhere.py: there is no such file"),
        (["one.py", "two.py", "--plan", "plan.json"], "--plan plan.json: a plan is for one graph"),
        (["one.py", "two.py", "--profiles", "p.toml"], "--profiles p.toml: profiles are of one graph"),
        (["one.py", "same.py"], 'same.py: its graph is named "one"'),
    ],
)
def test_a_mistake_is_one_clear_sentence_before_anything_begins(
    graphs: Any, words: list[str], said: str
) -> None:
    (graphs.folder / "same.py").write_text(GRAPH.format(name="one"))
    done = graphs("run", *words)
    assert done.returncode == 1
    assert said in done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1


def test_on_a_terminal_tables_give_way_to_what_came_of_it(graphs: Any) -> None:
    text = graphs.on_terminal("run", "one.py", "two.py")
    assert all(f"running {name}; tap it at" in text for name in ("one", "two"))
    assert "values/s" not in text
    assert text.rstrip().endswith("wrote two.json")
