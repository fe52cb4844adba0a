"""flowedge status and top: what graphs on this machine do, told by the runs themselves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from flowedge.monitor.report import Report
from flowedge.plane.topics import announced, open_router, state_topic
from tests.cli.conftest import SECONDS, Flowedge

STREET = """
from flowedge import Goal, Graph, choose
from flowedge.operators import Null, Resize, video
graph = Graph("street", goal=Goal(latency="10 s"))
frames = video(graph, {"north": "street://?live=1&width=320&height=240&seconds=600&people=2&vehicles=1"})
frames >> Resize(choose("width", 160, 80)) >> Null()
"""


@pytest.fixture(scope="module")
def street(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The command in the folder of a graph that runs, which all may look at."""
    command = Flowedge(tmp_path_factory.mktemp("street"))
    (command.folder / "street.py").write_text(STREET)
    process = command.start("run", "street.py", "--fixed")
    assert any("running street" in line for line in process.stderr)
    yield command
    command.kill_all()


def test_status_as_json_is_the_report_of_every_graph(street: Any) -> None:
    done = street("status", "--json")
    assert done.returncode == 0, done.stderr
    [graph] = json.loads(done.stdout)["graphs"]
    os.kill(graph.pop("pid"), 0)
    assert graph.pop("endpoint").startswith("unixsock-stream/")
    report = Report.from_json(graph)
    assert report.graph == "street"
    assert report.cameras["north"].knobs == {"width": 160}
    assert set(report.operators) == {"Decode", "Resize", "Null"}
    assert report.goal is not None
    assert report.goal.latency_ms == 10_000


def test_status_is_tables_for_people(street: Any) -> None:
    done = street("status")
    assert done.returncode == 0, done.stderr
    for words in (
        "street (process ",
        "north",
        "Resize",
        "goal: latency 10000 ms",
        "width=160 for north (route 0)",
    ):
        assert words in done.stdout


def test_top_is_lines_where_there_is_no_terminal(street: Any) -> None:
    top = street.start("top")
    line = top.stdout.readline()
    assert line.startswith("street: ")
    assert "frames/s" in line
    top.send_signal(signal.SIGINT)
    _, errors = top.communicate(timeout=SECONDS)
    assert "Traceback" not in errors


def test_top_on_a_terminal_ends_with_q(street: Any) -> None:
    screen, code = street.typed_on_terminal("q", "street (process", "top")
    assert code == 0
    assert "north" in screen


def test_without_graphs_both_say_so_and_end_with_1(flowedge: Any) -> None:
    for command in (("status",), ("top",)):
        done = flowedge(*command)
        assert (done.returncode, done.stderr) == (1, "error: no graph runs on this machine\n")
    done = flowedge("status", "--json")
    assert (done.returncode, json.loads(done.stdout)) == (1, {"graphs": []})


def test_top_ends_when_its_graphs_have_ended(flowedge: Any) -> None:
    (flowedge.folder / "street.py").write_text(STREET)
    run = flowedge.start("run", "street.py", "--fixed")
    assert any("running street" in line for line in run.stderr)
    top = flowedge.start("top")
    assert top.stdout.readline().startswith("street: ")
    run.send_signal(signal.SIGINT)
    run.communicate(timeout=SECONDS)
    _, errors = top.communicate(timeout=SECONDS)
    assert (top.returncode, errors) == (0, "no graph runs any more\n")


def test_what_does_not_answer_or_cannot_be_read_is_a_sentence_each(
    flowedge: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(flowedge.folder))
    sleeper = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    session, endpoint = open_router()
    folder = next(flowedge.folder.glob("flowedge-*"))
    gone = {"graph": "gone", "pid": sleeper.pid, "endpoint": f"{endpoint}.old", "operators": []}
    (folder / "gone.json").write_text(json.dumps(gone))
    (folder / "junk.json").write_text("junk")
    (folder / "foreign.json").write_text('{"graph": 1, "pid": 1, "endpoint": null, "operators": []}')
    with session, announced("odd", endpoint, []):
        publisher = session.declare_publisher(state_topic("odd"))
        publisher.declare_matching_listener(lambda status: publisher.put(b'{"graph": 3}'))
        done = flowedge("status")
    sleeper.communicate()
    assert done.returncode == 1
    assert done.stdout == ""
    said = sorted(done.stderr.splitlines())
    assert len(said) == 2, said
    assert said[0].startswith(f"gone (process {sleeper.pid}) cannot be reached at ")
    assert "cannot be read, it may be another FlowEdge: graph: 3 is no str" in said[1]
