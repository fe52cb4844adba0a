"""Graph files: what is taken from them, and the sentence when nothing can be."""

from __future__ import annotations

import re
import sys
import typing
from pathlib import Path

import pytest

from flowedge import ConfigError, GraphError
from flowedge.graph.knobs import Parameter
from flowedge.graph.loading import UserFile, load, load_several, module_of, user_file

WITH_OPERATOR = """
from __future__ import annotations
from dataclasses import dataclass
from flowedge import Graph, Operator, Frame, param
from flowedge.operators import Null, video

@dataclass
class Blur(Operator[Frame, Frame]):
    sigma: float = 2.0
    def process(self, frame: Frame, /) -> Frame:
        return frame

graph = Graph("crossing")
video(graph, param("source", "street://", help="what to look at")) >> Blur(param("sigma", 1.0)) >> Null()
"""


def written(folder: Path, text: str, name: str = "crossing.py") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_a_graph_and_its_parameters(tmp_path: Path) -> None:
    graph, parameters = load(written(tmp_path, WITH_OPERATOR), {"sigma": "3"})
    graph.check()
    assert [node.name for node in graph.nodes] == ["video", "Decode", "Blur", "Null"]
    assert graph.node("Blur").step.sigma == 3.0  # type: ignore[attr-defined]
    assert parameters == {
        "source": Parameter("source", str, "street://", help="what to look at"),
        "sigma": Parameter("sigma", float, 1.0),
    }


def test_a_path_may_be_text_and_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path, WITH_OPERATOR)
    monkeypatch.chdir(tmp_path)
    graph, _ = load("crossing.py", {})
    file = user_file(type(graph.node("Blur").step).__module__)
    assert file is not None
    assert file.path == tmp_path / "crossing.py"


def test_the_variable_graph_wins_over_others(tmp_path: Path) -> None:
    path = written(tmp_path, "from flowedge import Graph\nother = Graph('b')\ngraph = Graph('a')\n")
    assert load(path, {})[0].name == "a"


def test_the_only_graph_needs_no_certain_name(tmp_path: Path) -> None:
    path = written(tmp_path, "from flowedge import Graph\nx = y = Graph('a')\ngraph = None\n")
    assert load(path, {})[0].name == "a"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("x = 1\n", 'crossing.py: declares no graph: begin with graph = Graph("crossing")'),
        (
            "from flowedge import Graph\na, b = Graph('a'), Graph('b')\n",
            "crossing.py: declares several graphs, a, b: name the one to run `graph`",
        ),
        ("x = 1\nx = (\n", "crossing.py:2: SyntaxError: '(' was never closed"),
        ("x = 1\n\ny = z\n", "crossing.py:3: NameError: name 'z' is not defined"),
        ("\ndef f():\n    return 1 / 0\nf()\n", "crossing.py:3: ZeroDivisionError: division by zero"),
        ("import re\nre.compile('(')\n", "crossing.py:2: error: missing ), unterminated subpattern"),
        ("import nowhere\n", "crossing.py:1: ModuleNotFoundError: No module named 'nowhere'"),
        ("compile('(', 'text', 'exec')\n", "SyntaxError: '(' was never closed"),
    ],
)
def test_a_file_without_a_graph(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, sentence: str
) -> None:
    written(tmp_path, text)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(GraphError, match=re.escape(sentence)):
        load("crossing.py", {})


def test_the_error_of_the_file_is_kept_for_its_traceback(tmp_path: Path) -> None:
    with pytest.raises(GraphError) as caught:
        load(written(tmp_path, "x = {}['key']\n"), {})
    assert isinstance(caught.value.__cause__, KeyError)


def test_a_file_that_failed_leaves_no_module_behind(tmp_path: Path) -> None:
    before = set(sys.modules)
    with pytest.raises(GraphError):
        load(written(tmp_path, "1 / 0\n"), {})
    assert set(sys.modules) == before
    assert str(tmp_path) not in sys.path


def test_a_mistake_that_an_operator_found_passes_unchanged(tmp_path: Path) -> None:
    path = written(tmp_path, WITH_OPERATOR.replace('param("sigma", 1.0)', '"much"'))
    with pytest.raises(ConfigError, match=r"^Blur.sigma: 'much' is not a value of type float$"):
        load(path, {})


def test_a_parameter_that_nobody_asked_for(tmp_path: Path) -> None:
    path = written(tmp_path, WITH_OPERATOR)
    with pytest.raises(
        ConfigError, match=re.escape('sigm: the graph has no such parameter; did you mean "sigma"?')
    ):
        load(path, {"sigm": "3"})


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("nowhere.py", "nowhere.py: there is no such file"),
        ("graph.yaml", "graph.yaml: not a Python file: a graph is declared in a file like graph.py"),
        (".", "not a Python file"),
        ("latin.py", "latin.py:1: SyntaxError"),
    ],
)
def test_what_is_no_graph_file(tmp_path: Path, name: str, sentence: str) -> None:
    written(tmp_path, "a: 1", "graph.yaml")
    (tmp_path / "latin.py").write_bytes(b"x = 'caf\xe9'\n")
    with pytest.raises(GraphError, match=re.escape(sentence)):
        load(tmp_path / name, {})


def test_what_lies_beside_the_file_can_be_imported(tmp_path: Path) -> None:
    for folder in ("one", "two"):  # a second graph's `helpers` is not the first one's
        (tmp_path / folder).mkdir()
        written(tmp_path / folder, f"NAME = {folder!r}\nclass Helper: pass\n", "helpers.py")
        path = written(
            tmp_path / folder,
            "from flowedge import Graph\nimport helpers\nhelper = helpers.Helper\ngraph = Graph(helpers.NAME)",
        )
        assert load(path, {})[0].name == folder
        assert user_file("helpers") == UserFile(path.with_name("helpers.py"), user_file("helpers").sha256)  # type: ignore[union-attr]
    assert str(path.parent) not in sys.path


def test_a_mistake_in_what_it_imports_is_named_there(tmp_path: Path) -> None:
    written(tmp_path, "x = 1\ny = (\n", "brackets.py")
    with pytest.raises(GraphError, match=r"brackets\.py:2: SyntaxError: '\(' was never closed"):
        load(written(tmp_path, "import brackets"), {})


def test_type_hints_of_its_operators_resolve(tmp_path: Path) -> None:
    graph, _ = load(written(tmp_path, WITH_OPERATOR), {})
    assert typing.get_type_hints(type(graph.node("Blur").step))["sigma"] is float


def test_a_changed_file_is_read_anew_and_the_earlier_classes_stay(tmp_path: Path) -> None:
    first, _ = load(written(tmp_path, WITH_OPERATOR), {})
    second, _ = load(written(tmp_path, WITH_OPERATOR.replace("2.0", "9.0")), {})
    old, new = (type(graph.node("Blur").step) for graph in (first, second))
    assert (old().sigma, new().sigma) == (2.0, 9.0)  # type: ignore[attr-defined]
    assert typing.get_type_hints(old)["sigma"] is float


def test_a_module_is_found_again_by_its_file(tmp_path: Path) -> None:
    path = written(tmp_path, WITH_OPERATOR)
    graph, _ = load(path, {})
    blur = type(graph.node("Blur").step)
    file = user_file(blur.__module__)
    assert file is not None
    assert module_of(file).Blur is blur
    written(tmp_path, WITH_OPERATOR + "# changed")
    with pytest.raises(GraphError, match="the file has changed since the graph was written: write it again"):
        module_of(UserFile(path, "0" * 64))


def test_a_module_that_any_process_can_import_is_no_file_of_the_users() -> None:
    assert user_file("flowedge.operators.null") is None


def test_a_file_that_runs_its_graph_when_it_is_loaded(tmp_path: Path) -> None:
    path = written(tmp_path, WITH_OPERATOR + "from flowedge import Run\nwith Run(graph) as run: run.wait()\n")
    with pytest.raises(GraphError, match=r"runs its graph while it is loaded, .* put that below if"):
        load(path, {})


SMALL = """
from flowedge import Graph, param
from flowedge.operators import Null, Resize, video
graph = Graph("NAME")
video(graph, param("source", "street://")) >> Resize(param("width_NAME", 320)) >> Null()
"""


def test_a_value_is_for_all_graphs_that_have_it_unless_it_names_one(tmp_path: Path) -> None:
    files = [written(tmp_path, SMALL.replace("NAME", name), f"{name}.py") for name in ("one", "two")]
    given = {"source": "a.mp4", "two.source": "b.mp4", "width_one": "64", "two.width_two": "32"}
    one, two = load_several(files, given)
    assert (one.graph.name, one.path, dict(one.given)) == (
        "one", files[0], {"source": "a.mp4", "width_one": "64"},
    )  # fmt: skip
    assert dict(two.given) == {"source": "b.mp4", "width_two": "32"}
    assert load(two.path, two.given)[0] == two.graph


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("two.widht_two", 'two.widht_two: .*two.py has no such parameter; did you mean "width_two"'),
        ("one.width_two", "one.width_two: .*one.py has no such parameter"),
        ("sorce", "sorce: none of the graphs has such a parameter"),
        ("three.source", "three.source: none of the graphs has such a parameter"),
    ],
)
def test_a_value_for_nobody_is_refused(tmp_path: Path, name: str, said: str) -> None:
    files = [written(tmp_path, SMALL.replace("NAME", stem), f"{stem}.py") for stem in ("one", "two")]
    with pytest.raises(ConfigError, match=said):
        load_several(files, {name: "3"})
