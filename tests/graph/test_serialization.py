"""Graphs as JSON: there and back, and what is refused on the way."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowedge import ConfigError, Goal, Graph, GraphError, Operator, choose, join, synchronize, unzip
from flowedge.graph.loading import load
from flowedge.graph.serialization import definition, digest, from_json, to_json
from tests.graph_steps import Both, Detect, Draw, Drop, Film, Lines, Merge, Odd, Scale, Slice, Track, camera

USERS_FILE = """
from dataclasses import dataclass
from helpers import Sharpen
from flowedge import Frame, Graph, Operator, choose
from flowedge.operators import Null, Resize, video

@dataclass
class Blur(Operator[Frame, Frame]):
    sigma: float = 2.0
    def process(self, frame: Frame, /) -> Frame:
        return frame

graph = Graph("mine")
video(graph, "street://") >> Resize(choose("width", 320, 640)) >> Blur(3.0) >> Sharpen() >> Null()
"""

HELPERS = """
from flowedge import Frame, Operator

class Sharpen(Operator[Frame, Frame]):
    def process(self, frame: Frame, /) -> Frame:
        return frame
"""


def crossing() -> Graph:
    graph = Graph("crossing", goal=Goal(latency="250 ms", accuracy=0.6, pins={"Draw": "edge"}))
    frames = camera(graph) >> Scale(choose("size", 320, 640))
    tracks = (
        frames
        >> Slice(tiles=choose("tiles", 1, 2, 4))
        >> Detect(choose("model", "small", "large"), choose("size", 320, 640), classes=("person", "car"))
        >> Merge()
        >> Track({"north": [(0, 0), (9, 9)], "south": []})
    )
    join(frames, tracks) >> Draw() >> Film(Path("out") / "film.mp4")
    first, second = unzip(frames >> Both(name="pair"))
    join(join(first, second), tracks) >> Drop()
    second >> Lines()
    return graph


def through_text(graph: Graph) -> Graph:
    return from_json(json.loads(json.dumps(to_json(graph), allow_nan=False)))


def test_there_and_back() -> None:
    graph = crossing()
    back = through_text(graph)
    assert back == graph
    assert digest(back) == digest(graph)
    assert back.node("Detect").step.knobs == graph.node("Detect").step.knobs
    assert [node.tiled for node in back.nodes] == [node.tiled for node in graph.nodes]
    back.check()


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.builds(Path),
    lambda inner: st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(values)
def test_any_field_that_is_data_comes_back_as_it_was(value: object) -> None:
    graph = Graph("g")
    camera(graph) >> Odd(value)
    back = through_text(graph)
    assert back == graph
    assert digest(back) == digest(graph)
    assert repr(back.node("Odd").step) == repr(graph.node("Odd").step)


def test_the_digest_tells_graphs_apart() -> None:
    def of(step: Operator[Any, Any], **goal: Any) -> str:
        graph = Graph("g", goal=Goal(**goal))
        camera(graph) >> step >> Film()
        return digest(graph)

    digests = [
        of(Scale(320)),
        of(Scale(640)),
        of(Scale(320, name="half")),
        of(Scale(choose("width", 320, 640))),
        of(Scale(choose("width", 320, 416))),
        of(Scale(choose("size", 320, 640))),
        of(Scale(320), latency="250 ms"),
        of(Scale(320), pins={"Scale": "edge"}),
    ]
    assert len(set(digests)) == len(digests)


def test_secrets_stay_references(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAM_PASS", "hunter2")
    text = json.dumps(to_json(crossing()))
    assert "${CAM_PASS}" in text
    assert "hunter2" not in text


@pytest.mark.parametrize("value", [object(), {1: "a"}, {"a"}, b"raw", [object()], {"a": (1, {2})}])
def test_a_field_that_is_no_data_is_named(value: object) -> None:
    graph = Graph("g")
    camera(graph) >> Odd(value, name="sink")
    with pytest.raises(GraphError, match=r"^sink\.value: a value of type \w+ cannot leave this process"):
        to_json(graph)


def test_an_operator_inside_a_function_cannot_be_found_from_elsewhere() -> None:
    class Local(Scale):
        pass

    graph = Graph("g")
    camera(graph) >> Local() >> Film()
    with pytest.raises(
        GraphError, match="Local: the class cannot be found from elsewhere: define it at the top"
    ):
        to_json(graph)


@pytest.fixture
def users_file(tmp_path: Path) -> Path:
    (tmp_path / "helpers.py").write_text(HELPERS)
    (tmp_path / "mine.py").write_text(USERS_FILE)
    return tmp_path / "mine.py"


def test_operators_of_the_users_own_files(users_file: Path) -> None:
    graph, _ = load(users_file, {})
    data = {item["name"]: item["operator"] for item in to_json(graph)["operators"]}
    assert data["Resize"] == "flowedge.operators.resize:Resize"
    assert (data["Blur"]["file"], data["Blur"]["class"]) == (str(users_file), "Blur")
    assert data["Sharpen"]["file"] == str(users_file.with_name("helpers.py"))
    assert through_text(graph) == graph


def test_another_process_reads_the_same_graph(users_file: Path) -> None:
    graph, _ = load(users_file, {})
    script = (
        "import json, sys; from flowedge.graph.serialization import digest, from_json;"
        "graph = from_json(json.load(sys.stdin)); graph.check(); print(digest(graph))"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", script],
        input=json.dumps(to_json(graph)), cwd=root, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == digest(graph)


def test_a_graph_file_that_python_runs_itself_is_addressed_by_its_file(tmp_path: Path) -> None:
    text = USERS_FILE.replace("from helpers import Sharpen", "").replace(">> Sharpen()", "")
    prints = "from flowedge.graph.serialization import digest; print(digest(graph))"
    main = f"if __name__ == '__main__':\n    {prints}\n"
    path = tmp_path / "mine.py"
    path.write_text(text + main)
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, path], env={"PYTHONPATH": str(root)}, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == digest(load(path, {})[0])


def test_the_digest_counts_what_a_users_file_says_not_where_it_lies(users_file: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for path in (users_file, users_file.with_name("helpers.py")):
        (elsewhere / path.name).write_bytes(path.read_bytes())
    first = digest(load(users_file, {})[0])
    assert digest(load(elsewhere / "mine.py", {})[0]) == first
    users_file.write_text(USERS_FILE + "# changed\n")
    assert digest(load(users_file, {})[0]) != first


def test_a_users_file_that_changed_or_is_gone_is_refused(users_file: Path) -> None:
    data = to_json(load(users_file, {})[0])
    blur = next(item["operator"] for item in data["operators"] if item["name"] == "Blur")
    blur["sha256"] = "0" * 64
    with pytest.raises(GraphError, match=r"mine\.py: the file has changed since the graph was written"):
        from_json(data)
    users_file.unlink()
    with pytest.raises(GraphError, match=r"mine\.py: there is no such file"):
        from_json(data)


def without(data: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in data.items() if name != key}


def with_operator(index: int, **changed: Any) -> Callable[[dict[str, Any]], Any]:
    def change(data: dict[str, Any]) -> dict[str, Any]:
        data["operators"][index] |= changed
        return data

    return change


def with_field(value: Any) -> Callable[[dict[str, Any]], Any]:
    return with_operator(1, fields={"width": value})


MALFORMED: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "a list": (lambda data: [data], "an object with flowedge, name, goal, operators is needed, not [{"),
    "no goal": (lambda data: without(data, "goal"), "a graph: an object with flowedge, name, goal, operators"),
    "another member": (lambda data: data | {"x": 1}, "a graph: an object with flowedge, name, goal, operators"),
    "a later format": (lambda data: data | {"flowedge": 2}, "a graph: format 2 is not 1"),
    "a name of another kind": (lambda data: data | {"name": 5}, "a graph: its name is malformed: 5"),
    "an unknown goal": (lambda data: data | {"goal": {"speed": 1}}, "a graph: the goal is malformed"),
    "an operator that is none": (lambda data: data | {"operators": [3]}, "an operator: an object with name,"),
    "an input of another kind": (with_operator(1, input=3), "an operator: its input is malformed: 3"),
    "an input from nowhere": (with_operator(1, input="x"), "Scale: no operator before it gives a stream"),
    "an input from a sink": (
        with_operator(3, input="Film"),
        'Odd: no operator before it gives a stream named "Film"',
    ),
    "an input from itself": (with_operator(1, input="Scale"), "Scale: no operator before it"),
    "a malformed join": (with_operator(1, input={"join": ["Camera"]}), "Scale: its input is malformed"),
    "a third half": (with_operator(1, input={"part": ["Camera", 2]}), "Scale: its input is malformed"),
    "half of no pair": (with_operator(1, input={"part": ["Camera", 1]}), "unzip: Camera gives Frame, not"),
    "no input": (with_operator(1, input=None), "Scale: a source has no input"),
    "an input of a source": (with_operator(0, input="Camera"), "Camera: a source has no input"),
    "types that do not fit": (
        with_operator(1, operator="tests.graph_steps:Track", fields={}),
        "Scale takes Detections, but Camera gives Frame",
    ),
    "an unknown module": (with_operator(1, operator="no.where:X"), "no.where:X: the module cannot be imported"),
    "no module": (with_operator(1, operator=""), "the module cannot be imported"),
    "an unknown class": (with_operator(1, operator="tests.graph_steps:X"), "graph_steps:X: this is not an"),
    "a class of another kind": (with_operator(1, operator="pathlib:Path"), "pathlib:Path: this is not"),
    "a function": (with_operator(1, operator="os:system"), "os:system: this is not an operator"),
    "a class that is only a promise": (
        with_operator(1, operator="flowedge.graph.contract:Operator", fields={}),
        "Scale: the operator cannot be built",
    ),
    "an address without hash": (
        with_operator(1, operator={"file": "x.py", "class": "X"}),
        "an operator's address: an object with file, sha256, class is needed",
    ),
    "an unknown field": (with_operator(1, fields={"x": 1}), "Scale: the operator cannot be built"),
    "an object that stands for nothing": (with_field({"pickle": "x"}), "Scale.width: the value is malformed"),
    "a number that is none": (with_field({"float": "1e9"}), "Scale.width: the value is malformed"),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_data_is_refused_with_one_sentence(case: str) -> None:
    change, sentence = MALFORMED[case]
    graph = Graph("g")
    camera(graph) >> Scale() >> Film()
    camera(graph, "south", "second") >> Odd()
    data = to_json(graph)
    data["operators"] = [data["operators"][index] for index in (0, 1, 2, 4, 3)]  # the sink before the source
    data["operators"][3]["input"] = "Scale"
    from_json(data)
    with pytest.raises(GraphError, match=re.escape(sentence)) as caught:
        from_json(change(data))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (0, "Scale.width: 0 is not a number of pixels above 0"),
        ("wide", "Scale.width: 'wide' is not a value of type int"),
        ({"choose": "size", "values": []}, 'choose("size"): a knob needs at least one value'),
        ({"choose": "size", "values": [320, 0]}, "Scale.width: 0 is not a number of pixels above 0"),
    ],
)
def test_the_operators_own_checks_apply(value: Any, sentence: str) -> None:
    graph = Graph("g")
    camera(graph) >> Scale() >> Film()
    with pytest.raises(ConfigError, match=re.escape(sentence)):
        from_json(with_field(value)(to_json(graph)))


def test_cameras_that_are_synchronized_travel() -> None:
    graph = Graph("pairs")
    north, south = (camera(graph, name, f"{name}-source") for name in ("north", "south"))
    synchronize(north, south >> Scale(), tolerance="20 ms") >> Drop()
    data = json.loads(json.dumps(to_json(graph)))
    assert data["operators"][-2]["input"] == {"synchronize": ["north-source", "Scale"]}
    assert from_json(data) == graph
    data["operators"][-1]["input"] = {"synchronize": ["north-source", "Scale"]}
    with pytest.raises(GraphError, match="Drop: streams are synchronized by synchronize"):
        from_json(data)


def test_a_definition_changes_with_class_and_fields_but_not_with_name_and_knobs() -> None:
    plain = definition(Scale())
    assert definition(Scale(name="another")) == plain
    assert definition(Scale(320)) != plain
    assert definition(Detect()) != definition(Track())
    knob = definition(Scale(choose("size", 320, 640)))
    assert knob == definition(Scale(choose("other", 64, 32)))
    assert knob != definition(Scale(choose("size", 320, 640), factor=2.0))


def test_a_definition_changes_with_the_code_of_a_users_file(users_file: Path) -> None:
    def blur() -> str:
        return definition(next(node.step for node in load(users_file, {})[0].nodes if node.name == "Blur"))

    first = blur()
    assert blur() == first
    users_file.write_text(USERS_FILE + "# changed\n")
    assert blur() != first
