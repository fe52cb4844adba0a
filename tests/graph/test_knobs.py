"""Knobs for the planner and parameters for the command line."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
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


USES: dict[str, Callable[[Any], object]] = {
    "formatted": lambda knob: f"{knob}.mp4",
    "formatted as text": str,
    "formatted as a path": Path,
    "tested": lambda knob: 1 if knob else 0,
    "compared": lambda knob: knob == 416,
    "compared, unlike": lambda knob: knob != 416,
    "compared by order": lambda knob: knob < 416,
    "compared in a list": lambda knob: knob in [416],
    "calculated with": lambda knob: knob * 2,
    "calculated with on the right": lambda knob: 2 - knob,
    "calculated with, negated": lambda knob: -knob,
    "converted": int,
    "converted to an index": lambda knob: "abc"[knob],
    "looked into": lambda knob: knob[0],
    "looked into with a loop": list,
    "called": lambda knob: knob(),
    "asked for its upper": lambda knob: knob.upper(),
}


@pytest.mark.parametrize("done", USES)
def test_a_knob_used_as_a_value_is_refused_in_a_sentence(done: str) -> None:
    begin = re.escape("choose('size', 416, 512): a knob has no value before there is a plan, so it cannot be ")
    with pytest.raises(ConfigError, match=begin + done.split(",")[0].split(" as ")[0].split(" on ")[0][:8]):
        USES[done](choose("size", 416, 512))


def test_the_sentence_about_a_knob_keeps_passwords() -> None:
    with pytest.raises(ConfigError) as caught:
        str(choose("source", "rtsp://me:secret@10.0.0.5/street"))
    assert "secret" not in str(caught.value)


def test_a_knob_is_data_that_copies_and_hashes() -> None:
    knob: Any = choose("size", 416, 512)
    assert copy.deepcopy(knob) == copy.copy(knob) == knob
    assert knob in {knob}
    assert knob != choose("size", 416)


def test_a_knob_of_knobs_is_refused() -> None:
    for inner in (choose("b", 1), (choose("b", 1), 2)):
        with pytest.raises(ConfigError, match="a knob cannot stand among the values of a knob"):
            choose("a", inner)


def test_a_parameter_with_choices_is_a_knob_that_begins_with_its_default() -> None:
    assert param("tiles", 4, choices=(1, 2, 4)) == choose("tiles", 4, 1, 2)
    assert param("tiles", choices=(1, 2, 4)) == choose("tiles", 1, 2, 4)
    with settings({}) as used:
        assert param("tiles", choices=(1, 2), help="of a frame") == choose("tiles", 1, 2)
    assert used.declared == {"tiles": Parameter("tiles", int, 1, (1, 2), "of a frame")}


def test_a_parameter_with_choices_that_is_set_has_this_value_only() -> None:
    with settings({"tiles": "2"}):
        assert param("tiles", 4, choices=(1, 2, 4)) == choose("tiles", 2)


@pytest.mark.parametrize(
    ("choices", "text", "sentence"),
    [
        ((1, 2, 4), "5", "x=5: the choices are 1, 2, 4; did you mean 4?"),
        (("frame", "picture"), "pictur", "x=pictur: the choices are frame, picture; did you mean picture?"),
        (("frame", "picture"), "zzz", "x=zzz: the choices are frame, picture"),
    ],
)
def test_a_value_outside_the_choices_is_refused_with_the_nearest(
    choices: Any, text: str, sentence: str
) -> None:
    with settings({"x": text}), pytest.raises(ConfigError) as caught:
        param("x", choices=choices)
    assert str(caught.value) == sentence


def test_a_default_outside_the_choices_is_refused() -> None:
    with pytest.raises(ConfigError, match=re.escape("x=3: the choices are 1, 8; did you mean 1?")):
        param("x", 3, choices=(1, 8))


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
    assert used.declared == {"size": Parameter("size", int, 640, help="input size")}
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


@pytest.mark.parametrize(
    ("choices", "text", "value"),
    [
        ((0, 0.1, 0.2), "0.1", 0.1),
        ((0, 0.1, 0.2), "0.10", 0.1),
        ((0, 0.1, 0.2), "0", 0),
        (((416, 416), (512, 288)), "(512, 288)", (512, 288)),
        ((None, 5), "5", 5),
    ],
)
def test_a_choice_is_set_by_its_printed_form(choices: Any, text: str, value: object) -> None:
    with settings({"x": text}):
        assert param("x", choices=choices) == choose("x", value)


def test_a_text_that_is_no_choice_of_any_type_is_refused() -> None:
    with settings({"x": "(1, 2)"}), pytest.raises(ConfigError, match="the choices are"):
        param("x", choices=((416, 416), (512, 288)))


@pytest.mark.parametrize("default", [["person"], {"a": 1}, (1, 2)])
def test_a_default_that_no_text_can_become_is_refused(default: object) -> None:
    with pytest.raises(ConfigError, match=re.escape(f"param('classes', {default!r})")):
        param("classes", default)
