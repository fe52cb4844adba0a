"""flowedge plan: tables, JSON, pictures, comparisons, and why there is none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

GRAPHS = Path(__file__).resolve().parents[2] / "graphs"

GRAPH = """
from flowedge import Goal, Graph, choose, param
from flowedge.operators import MotionDetect, Null, Resize, video

area = param("area", 50, choices=(20, 50), help="of the smallest object")
latency = param("latency", "250 ms", help="the goal")
graph = Graph("watch", goal=Goal(latency=latency))
video(graph, "street://") >> Resize(choose("width", 320, 640)) >> MotionDetect(min_area=area) >> Null()
"""

CLUSTER = """
tiers = ["edge", "cloud"]

[[nodes]]
name = "box"
tier = "edge"
kind = "pi"
cores = 2
power = { idle = "4 W", core = "1 W" }

[[nodes]]
name = "server"
tier = "cloud"
kind = "xeon"
cores = 16
power = { idle = "80 W", core = "5 W" }

[[links]]
between = ["box", "server"]
bandwidth = "20 Mbit/s"
delay = "10 ms"

[[cameras]]
name = "north"
node = "box"
fps = 10
count = 2
"""

PROFILES = (
    "\n".join(
        f"""
[[services]]
operator = "{operator}"
kind = "{kind}"
cores = 1
time = "{milliseconds * width // 320} ms"
setting = {{ width = {width}{extra} }}
"""
        for operator, kind, milliseconds, extra in (
            ("Resize", "pi", 10, ""),
            ("Resize", "xeon", 2, ""),
            ("MotionDetect", "pi", 60, ", area = 20"),
            ("MotionDetect", "pi", 30, ", area = 50"),
            ("MotionDetect", "xeon", 8, ""),
            ("Decode", "pi", 1, ""),
            ("Decode", "xeon", 1, ""),
        )
        for width in (320, 640)
    )
    + """
[[outputs]]
operator = "Decode"
size = "50 kB"

[[outputs]]
operator = "Resize"
size = "20 kB"
"""
)

WORDS = (
    *("watch.py", "--cluster", "cluster.toml", "--profiles", "p.toml", "--strategy", "exact"),
    *("--assume-free", "Null"),
)


@pytest.fixture
def folder(flowedge: Any) -> Path:
    folder: Path = flowedge.folder
    for name, content in (("watch.py", GRAPH), ("cluster.toml", CLUSTER), ("p.toml", PROFILES)):
        (folder / name).write_text(content)
    return folder


def test_the_plan_is_a_table(flowedge: Any, folder: Path) -> None:
    done = flowedge("plan", *WORDS)
    assert done.returncode == 0, done.stderr
    for words in (
        "exact: ",
        "latency at most",
        "service",
        "waiting",
        "network",
        "throughput 20 frames/s",
        "box",
    ):
        assert words in done.stdout, done.stdout


def test_parameters_with_choices_are_chosen_unless_given(flowedge: Any, folder: Path) -> None:
    chosen = json.loads(flowedge("plan", *WORDS, "--json").stdout)
    assert {route["setting"]["area"] for route in chosen["routes"]} == {50}
    given = json.loads(flowedge("plan", "watch.py", "area=20", *WORDS[1:], "--json").stdout)
    assert {route["setting"]["area"] for route in given["routes"]} == {20}
    assert given["value"] >= chosen["value"]
    done = flowedge("plan", "watch.py", "area=30", *WORDS[1:])
    assert done.returncode == 1
    assert "area=30: the choices are 20, 50; did you mean 20?" in done.stderr


def test_a_profile_file_makes_no_knob_of_a_parameter(flowedge: Any, folder: Path) -> None:
    (folder / "watch.py").write_text(GRAPH.replace("choices=(20, 50), ", ""))
    done = flowedge("plan", *WORDS)
    assert done.returncode == 1
    assert "MotionDetect: its profiles are for values of area, which the graph cannot choose" in done.stderr
    assert 'param("area", ..., choices=...)' in done.stderr


def test_a_value_that_was_not_measured_is_refused(flowedge: Any, folder: Path) -> None:
    (folder / "watch.py").write_text(GRAPH.replace("(20, 50)", "(20, 50, 80)"))
    done = flowedge("plan", "watch.py", "area=80", *WORDS[1:])
    assert done.returncode == 1
    assert "area=80: was not measured; the profiles have 20, 50" in done.stderr


def test_profiles_of_another_graph_are_refused(flowedge: Any, folder: Path) -> None:
    (folder / "watch.py").write_text(GRAPH.replace('choose("width", 320, 640)', "320"))
    done = flowedge("plan", *WORDS)
    assert done.returncode == 1
    assert "Resize: its profiles are for values of width, which the graph cannot choose" in done.stderr


def test_without_a_power_anywhere_resources_are_minimized(flowedge: Any, folder: Path) -> None:
    lines = [line for line in CLUSTER.splitlines() if not line.startswith("power")]
    (folder / "cluster.toml").write_text("\n".join(lines))
    done = flowedge("plan", *WORDS, "--json")
    assert done.returncode == 0, done.stderr
    assert "no node of the cluster has a power" in done.stderr
    assert json.loads(done.stdout)["value"] > 0


def test_without_profiles_there_is_no_plan(flowedge: Any, folder: Path) -> None:
    done = flowedge("plan", "watch.py", "--cluster", "cluster.toml", "--strategy", "exact")
    assert (done.returncode, done.stdout) == (1, "")
    assert "error: --profiles: without them nobody knows what an operator costs" in done.stderr
    assert "`flowedge profile watch.py`, or add --profile-here" in done.stderr


def test_an_operator_without_a_profile_is_not_free(flowedge: Any, folder: Path) -> None:
    (folder / "p.csv").write_text("operator,kind,cores,time_ms\nMotionDetekt,pi,1,5\nDecode,pi,1,5\n")
    words = ("plan", "watch.py", "--cluster", "cluster.toml", "--profiles", "p.csv")
    done = flowedge(*words)
    assert (done.returncode, done.stdout) == (1, "")
    assert (
        'error: Resize, MotionDetect (did you mean "MotionDetekt"?), Null: not in the profiles, which have '
        "MotionDetekt besides; measure with" in done.stderr
    )
    free = [word for name in ("Resize", "MotionDetect", "Null") for word in ("--assume-free", name)]
    done = flowedge(*words, *free, "--strategy", "exact")
    assert done.returncode == 0, done.stderr
    assert "Decode" in done.stdout
    done = flowedge(*words, *free, "--assume-free", "Nul")
    assert (
        'error: Nul cannot be assumed free: the graph has no such operator; did you mean "Null"?' in done.stderr
    )
    done = flowedge(*words, *free, "--assume-free", "Decode")
    assert "error: Decode cannot be assumed free: the profiles say what it costs" in done.stderr


def test_this_machine_is_measured_on_the_way(
    flowedge: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flowedge.cli.profile.FRAMES", 8)
    view = "street://?width=160&height=120&people=2&vehicles=1&seconds=2&fps=5"
    (folder / "watch.py").write_text(
        GRAPH.replace("street://", view).replace("320, 640", "80").replace("(20, 50)", "(50,)")
    )
    words = ("plan", "watch.py", "--cluster", "cluster.toml", "--profile-here")
    done = flowedge(*words)
    assert done.returncode == 1
    assert '--profile-here: cluster.toml has the kinds pi, xeon and none called "this-machine"' in done.stderr
    (folder / "cluster.toml").write_text(CLUSTER.replace('"pi"', '"this-machine"'))
    done = flowedge(*words, "--json")
    assert done.returncode == 0, done.stderr
    data = json.loads(done.stdout)
    assert {each["node"] for each in data["deployments"]} == {"box"}
    assert "MotionDetect" in data["unprofiled"]["xeon"]


def test_a_newcomer_measures_and_plans_the_quickstart(flowedge: Any) -> None:
    quickstart, cluster = str(GRAPHS / "quickstart.py"), str(GRAPHS / "cluster.toml")
    done = flowedge.process("profile", quickstart, "--output", "p.toml", "--frames", "8", "--cores", "0.1,1")
    assert done.returncode == 0, done.stderr
    done = flowedge.process("plan", quickstart, "--cluster", cluster, "--profiles", "p.toml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Detect" in done.stdout
    assert [path.name for path in flowedge.folder.glob("quickstart*")] == []


def test_strategies_are_compared(flowedge: Any, folder: Path) -> None:
    done = flowedge("plan", *WORDS, "--compare")
    assert done.returncode == 0, done.stderr
    rows = {line.split()[0]: line for line in done.stdout.splitlines()[1:]}
    assert rows["exact"].endswith("holds")
    assert "0.00" in rows["exact"]
    assert {"exact", "cloud-only", "edge-only", "random"} <= set(rows)
    values = [float(line.split()[1]) for line in rows.values() if line.endswith("holds")]
    assert float(rows["exact"].split()[1]) == min(values)


def test_pictures_are_written(flowedge: Any, folder: Path) -> None:
    for name in ("plan.svg", "plan.png"):
        done = flowedge("plan", *WORDS, "--picture", name)
        assert done.returncode == 0, done.stderr
        assert f"wrote {name}" in done.stderr
    words = [element.text or "" for element in ElementTree.parse(folder / "plan.svg").iter()]
    assert any("MotionDetect" in each for each in words)
    assert (folder / "plan.png").read_bytes().startswith(b"\x89PNG")


def test_why_there_is_no_plan(flowedge: Any, folder: Path) -> None:
    done = flowedge("plan", "watch.py", "latency=15 ms", *WORDS[1:])
    assert done.returncode == 1
    assert "there is no plan" in done.stdout
    assert "- watch: latency at most 0.015 s" in done.stdout
    assert "Traceback" not in done.stderr
    data = json.loads(flowedge("plan", "watch.py", "latency=15 ms", *WORDS[1:], "--json").stdout)
    assert (data["found"], data["proven"]) == (False, True)


def test_a_kind_without_profile_cannot_serve(flowedge: Any, folder: Path) -> None:
    (folder / "cluster.toml").write_text(CLUSTER.replace('"pi"', '"orin"').replace('"xeon"', '"orin"'))
    done = flowedge("plan", *WORDS)
    assert done.returncode == 1
    assert "nodes of kind orin cannot run Decode, Resize, MotionDetect: there is no profile" in done.stdout


def test_a_kind_that_lacks_profiles_is_named_where_there_is_no_plan(flowedge: Any, folder: Path) -> None:
    (folder / "cluster.toml").write_text(CLUSTER.replace('"xeon"', '"vm"').replace("count = 2", "count = 60"))
    done = flowedge("plan", *WORDS)
    assert done.returncode == 1
    assert "nodes of kind vm cannot run Decode, Resize, MotionDetect" in done.stdout
    data = json.loads(flowedge("plan", *WORDS, "--json").stdout)
    assert data["unprofiled"] == {"vm": ["Decode", "Resize", "MotionDetect"]}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (('"20 Mbit/s"', '"20 Mbit"'), "cluster.toml: links[0].bandwidth: '20 Mbit'"),
        (("cores = 2", "coers = 2"), 'did you mean "cores"?'),
        (('node = "box"', 'node = "bx"'), "cameras north: there is no node 'bx'"),
        (("[[cameras]]", "[[cameras"), "cluster.toml: is not TOML"),
    ],
)
def test_a_mistake_in_a_file_is_named(flowedge: Any, folder: Path, change: tuple[str, str], said: str) -> None:
    (folder / "cluster.toml").write_text(CLUSTER.replace(*change))
    done = flowedge("plan", *WORDS)
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--strategy", "exct"], 'did you mean "exact"?'),
        (["--picture", "plan.gif"], "--picture plan.gif: write a name that ends in .svg or .png"),
        (["--picture", "nowhere/plan.svg"], "--picture nowhere/plan.svg: cannot be written"),
        (["--profiles", "q.toml"], "q.toml: cannot be read"),
    ],
)
def test_a_mistake_is_one_clear_sentence(flowedge: Any, folder: Path, words: list[str], said: str) -> None:
    done = flowedge("plan", *WORDS, *words)
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr


TOPOLOGY = """<graphml><key id="l" for="node" attr.name="label"/><graph>
<node id="0"><data key="l">gate</data></node><node id="1"><data key="l">far</data></node>
<edge source="0" target="1"/></graph></graphml>"""
TABLE = """operator;kind;cores;time_ms;setting.width;output_kB
Resize;pi;1;10;320;20
MotionDetect;pi;1;60;320;
MotionDetect;xeon;1;8;320;
Decode;pi;1;1;;50
"""


def test_a_network_in_graphml_and_a_table_of_profiles(flowedge: Any, folder: Path) -> None:
    (folder / "net.graphml").write_text(TOPOLOGY)
    (folder / "table.csv").write_text(TABLE)
    (folder / "cluster.toml").write_text(
        'topology = { graphml = "net.graphml", cores = 2, kind = "pi" }\n'
        'nodes = [{ name = "far", tier = "cloud", kind = "xeon", cores = 8 }]\n'
        'cameras = [{ name = "north", node = "gate", fps = 5 }]\n'
    )
    done = flowedge(
        "plan", "watch.py", "--cluster", "cluster.toml", "--profiles", "table.csv", "--assume-free", "Null"
    )
    assert done.returncode == 0, done.stderr
    assert "MotionDetect" in done.stdout
    done = flowedge("plan", "watch.py", "--cluster", "net.graphml", "--profiles", "table.csv")
    assert done.returncode == 1
    assert 'cameras; write a cluster file in TOML with [topology] graphml = "net.graphml"' in done.stderr
