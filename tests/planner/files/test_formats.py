"""FORMATS.md: its examples are read, and it names every field that the readers know."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import flowedge.planner
from flowedge.planner.files import documents, profile_table, tables
from flowedge.planner.model.units import DATA, TIME
from flowedge.simulate import fields, reading
from tools.papers.stlas_jobs import jobs

TEXT = (Path(flowedge.planner.__file__).parent / "FORMATS.md").read_text()
EXAMPLES = re.findall(r"```(\w+) (\S+)\n(.*?)```", TEXT, re.DOTALL)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The examples that others name, under these names."""
    crossing = Path(__file__).parents[3] / "tools" / "scenarios" / "crossing.toml"
    (tmp_path / "crossing.toml").write_text(crossing.read_text())
    for kind, name, text in reversed(EXAMPLES):
        (tmp_path / (name if "." in name else f"{name}.{kind}")).write_text(text)
    return tmp_path


@pytest.mark.parametrize(("kind", "name", "text"), EXAMPLES, ids=[f"{each[1]}-{each[0]}" for each in EXAMPLES])
def test_examples_are_read(kind: str, name: str, text: str, folder: Path) -> None:
    def files(other: str) -> str:
        return (folder / other).read_text()

    match name, kind:
        case "cluster", _:
            assert documents.cluster("cluster.toml", text, files).nodes
        case "profiles", _:
            assert documents.profiles(f"profiles.{kind}", text).services
        case "problem", _:
            assert documents.problem("problem.toml", text, files).profiles.services
        case "scenario", _:
            (folder / "scenario.toml").write_text(text)
            assert reading.load(folder / "scenario.toml").choices
        case "requests.csv", _:
            assert len(fields.trace(text, ("people",))) == 2
        case "jobs", _:
            assert [len(job.parts) for job in jobs(text)] == [1, 8]
        case "backbone.graphml", _:
            assert len(documents.cluster(name, text, files).links) == 1
        case _:
            pytest.fail(f"nobody reads {name}")


def test_every_field_is_described(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known: set[str] = {*fields._TRACE, *profile_table.COLUMNS, *TIME, *DATA} - {"setting."}
    given: Mapping[str, Any] = {"init": tables.Table.__init__}

    def noted(self: tables.Table, data: object, where: str, names: Any) -> None:
        known.update(names)
        given["init"](self, data, where, names)

    monkeypatch.setattr(tables.Table, "__init__", noted)
    for kind, name, text in EXAMPLES:
        test_examples_are_read(kind, name, text, folder)
    assert len(known) > 80
    # `plan` and the arrays of tables stand there with their brackets.
    assert {name for name in known if not re.search(rf"[`\[]{name}[`\]]", TEXT)} == set()
