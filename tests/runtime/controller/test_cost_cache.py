"""What settings take is kept for the next run on the same machine, and never trusted blindly."""

from __future__ import annotations

from pathlib import Path

import pytest

from flowedge import Graph, choose
from flowedge.operators import Null, Resize, video
from flowedge.runtime.controller import cost_cache
from flowedge.runtime.controller.adaptation import Cost
from flowedge.runtime.controller.agreements import Agreements

SMALL, LARGE = (("width", 320),), (("width", 640),)
COSTS = {SMALL: Cost({"Resize": 0.01}, 0.5), LARGE: Cost({"Resize": 0.03}, None)}


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def graph(*sizes: int) -> Graph:
    made = Graph("door")
    video(made, "street://") >> Resize(choose("width", *sizes)) >> Null()
    return made


def kept(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "cache").rglob("*.json"))


def test_what_was_saved_is_loaded_by_the_same_graph_only(tmp_path: Path):
    cost_cache.save(graph(320, 640), COSTS, Agreements())
    assert cost_cache.load(graph(320, 640), [SMALL, LARGE])[0] == COSTS
    assert cost_cache.load(graph(320, 640, 800), [SMALL, LARGE])[0] == {}
    assert len(kept(tmp_path)) == 1


def test_half_of_what_is_needed_is_nothing():
    cost_cache.save(graph(320, 640), {SMALL: COSTS[SMALL]}, Agreements())
    assert cost_cache.load(graph(320, 640), [SMALL, LARGE])[0] == {}


@pytest.mark.parametrize("text", ["", "{}", "[1]", '[{"setting": [], "work": 3, "accuracy": null}]', "\x00"])
def test_a_file_that_makes_no_sense_is_done_without(tmp_path: Path, text: str):
    cost_cache.save(graph(320, 640), COSTS, Agreements())
    kept(tmp_path)[0].write_text(text)
    assert cost_cache.load(graph(320, 640), [SMALL, LARGE])[0] == {}


def test_a_folder_that_cannot_be_made_is_no_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    cost_cache.save(graph(320, 640), COSTS, Agreements())
    assert cost_cache.load(graph(320, 640), [SMALL, LARGE])[0] == {}
