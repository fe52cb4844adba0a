"""Knobs for the planner and parameters for the command line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from flowedge import ConfigError, choose, param
from flowedge.graph.knobs import Choice, Parameter, settings, suggestion


def test_a_choice_is_its_name_and_values() -> None:
    assert choose("size", 416, 512) == Choice("size", (416, 512))  # type: ignore[comparison-overlap]


def test_a_knob_without_values_is_refused() -> None:
    with pytest.raises(ConfigError, match=re.escape('choose("size"): a knob needs at least one value, e.g.')):
        choose("size")


def test_a_knob_without_a_name_is_refused() -> None:
    with pytest.raises(ConfigError, match=re.escape("choose(416, ...): a knob begins with its name, e.g.")):
        choose(416, 512)  # type: ignore[arg-type]


def test_a_parameter_outside_a_graph_file_is_its_default() -> None:
    assert param("size", 640) == 640
    assert param("out", type=str) is None


@pytest.mark.parametrize(
    ("default", "text", "value"),
    [
        ("street://", "rtsp://x", "rtsp://x"),
        (640, "320", 320),
        (0.5, "1", 1.0),
        (False, "yes", True),
        (True, "Off", False),
        (("car",), "person, car,", ("person", "car")),
        (Path("a"), "b/c", Path("b/c")),
        (None, "out.mp4", "out.mp4"),
    ],
)
def test_the_text_becomes_the_type_of_the_default(default: Any, text: str, value: object) -> None:
    with settings({"x": text}):
        found = param("x", default)
    assert (found, type(found)) == (value, type(value))


def test_a_type_without_a_default() -> None:
    with settings({"frames": "12"}):
        assert param("frames", type=int) == 12
        assert param("output", type=str) is None


@pytest.mark.parametrize(
    ("default", "text", "wanted"),
    [(1, "1.5", "a whole number"), (1.0, "x", "a number"), (True, "maybe", "yes or no")],
)
def test_a_text_of_another_type_is_refused(default: Any, text: str, wanted: str) -> None:
    with settings({"x": text}), pytest.raises(ConfigError, match=re.escape(f"x={text}: {wanted} is needed")):
        param("x", default)


def test_what_no_parameter_asked_for_is_refused_with_the_near_name() -> None:
    with settings({"sise": "3"}) as used:
        param("size", 640, help="input size")
    assert used.declared == {"size": Parameter("size", 640, help="input size")}
    with pytest.raises(
        ConfigError, match=re.escape('sise: the graph has no such parameter; did you mean "size"?')
    ):
        used.check_all_used()


def test_settings_end_with_their_block_also_after_an_error() -> None:
    with pytest.raises(KeyError), settings({"x": "given"}):
        raise KeyError
    assert param("x", "default") == "default"


@pytest.mark.parametrize(
    ("known", "words"),
    [(["size"], '; did you mean "size"?'), (["zoo", "ant"], "; it has ant, zoo"), ([], "; it has none")],
)
def test_suggestions(known: list[str], words: str) -> None:
    assert suggestion("sise", known) == words
