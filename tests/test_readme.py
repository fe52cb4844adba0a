"""README.md: what it tells people to type is run as it stands there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import types
from pathlib import Path

import pytest

import flowedge
from flowedge import Frame, Graph, Run
from flowedge.operators import Null, video
from flowedge.testing import frames, run_operator

README = Path(flowedge.__file__).parent.parent / "README.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```$", README.read_text(), re.DOTALL | re.MULTILINE)


def snippet(*words: str) -> str:
    """The one block of Python that has all of these words."""
    [block] = [block for block in BLOCKS if all(word in block for word in words)]
    return block


def execute(code: str, folder: Path, **names: object) -> dict[str, object]:
    """Run code in a module of its own, in `folder`."""
    module = types.ModuleType("snippet")
    vars(module).update(names)
    before = Path.cwd()
    os.chdir(folder)
    sys.modules["snippet"] = module  # a dataclass looks there for the names of its types
    try:
        exec(compile(code, str(README), "exec", dont_inherit=True), vars(module))
    finally:
        del sys.modules["snippet"]
        os.chdir(before)
    return vars(module)


def test_every_snippet_is_tried_here() -> None:
    tried = [
        snippet("Slice(tiles=4)"),
        snippet("zenoh"),
        snippet("with Run"),
        snippet("plan(graph"),
        snippet("class Blur"),
    ]
    assert sorted(tried, key=BLOCKS.index) == BLOCKS


def test_the_graph_of_the_beginning_checks(tmp_path: Path) -> None:
    graph = execute(snippet("Slice(tiles=4)"), tmp_path)["graph"]
    assert isinstance(graph, Graph)
    graph.check()


def test_a_run_in_a_notebook(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    execute(snippet("with Run"), tmp_path)
    assert capsys.readouterr().out.startswith("10 frames, ")
    assert len((tmp_path / "door.jsonl").read_text().splitlines()) == 10


def test_a_plan_in_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    execute(snippet("plan(graph"), tmp_path)
    first, second = capsys.readouterr().out.splitlines()
    assert first == "Detect on server x 1"
    assert second.startswith("0.05")


def test_an_operator_of_your_own(tmp_path: Path) -> None:
    blur = execute(snippet("class Blur"), tmp_path)["Blur"]
    [blurred] = run_operator(blur(), frames(1, 64, 48))  # type: ignore[operator]
    assert isinstance(blurred, Frame)
    with pytest.raises(flowedge.ConfigError, match=r"Blur\.sigma: 0 is not a number of pixels above 0"):
        blur(sigma=0)  # type: ignore[operator]


def test_any_zenoh_client_reads_an_operator(tmp_path: Path) -> None:
    seen: list[object] = []
    graph = Graph("crossing")
    video(graph, {"north": "street://?width=160&height=120&live=1"}, name="Detect") >> Null()
    with Run(graph) as run:

        def show(value: object) -> None:
            seen.append(value)
            raise EOFError("one is enough")

        watchdog = threading.Timer(300, run.stop)
        watchdog.start()
        try:
            with pytest.raises(EOFError):
                execute(snippet("zenoh"), tmp_path, ENDPOINT=run.endpoint, print=show)
        finally:
            watchdog.cancel()
    assert seen


@pytest.mark.parametrize(
    "command", [["-m", "flowedge", "--version"], ["-c", "import flowedge; print(flowedge.__version__)"]]
)
def test_the_version(command: list[str]) -> None:
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=True)
    assert flowedge.__version__ in done.stdout
