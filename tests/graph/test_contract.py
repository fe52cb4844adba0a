"""What the five kinds of step promise, and how their configuration is checked."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Protocol

import pytest

from flowedge import ConfigError, Frame, Operator, Origin, choose
from flowedge.graph.contract import Step, valid_name
from flowedge.graph.knobs import Choice
from tests.graph_steps import Camera, Detect, Film, Merge, Scale, Slice, Track


class Clock(Protocol):
    def now(self) -> float: ...


@dataclass
class Fields(Operator[Frame, Frame]):
    """One field of each type that configuration is made of."""

    count: int = 1
    ratio: float = 0.5
    label: str = "x"
    switch: bool = True
    names: Sequence[str] = ()
    limits: Mapping[str, float] = field(default_factory=dict)
    pair: tuple[int, int] = (0, 0)
    path: str | Path | None = None
    mode: Literal["fast", "good"] = "fast"
    anything: Any = None
    clock: Clock | None = None
    session: object = field(default=None, init=False)

    def process(self, frame: Frame, /) -> Frame:
        return frame


def test_a_step_is_named_after_its_class_unless_it_says_otherwise() -> None:
    assert Scale().name == "Scale"
    assert Scale(name="half").name == "half"


def test_steps_compare_by_configuration_and_name() -> None:
    assert Scale(320) == Scale(320)
    assert Scale(320) != Scale(640)
    assert Scale(320) != Scale(320, name="half")


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({"count": "1"}, "Fields.count: '1' is not a value of type int"),
        ({"count": 1.5}, "Fields.count: 1.5 is not a value of type int"),
        ({"count": True}, "Fields.count: True is not a value of type int"),
        ({"ratio": "half"}, "Fields.ratio: 'half' is not a value of type float"),
        ({"label": None}, "Fields.label: None is not a value of type str"),
        ({"switch": 1}, "Fields.switch: 1 is not a value of type bool"),
        ({"names": "person"}, "Fields.names: 'person' is not a value of type Sequence[str]"),
        ({"limits": [1]}, "Fields.limits: [1] is not a value of type Mapping[str, float]"),
        ({"path": 7}, "Fields.path: 7 is not a value of type str | Path | None"),
        ({"mode": "best"}, "Fields.mode: 'best' is not a value of type Literal['fast', 'good']"),
        ({"name": "a b"}, "Fields.name: 'a b' is not a name of letters"),
        ({"name": 5}, "Fields.name: 5 is not a value of type str"),
    ],
)
def test_a_field_of_another_type_is_refused_by_name(given: dict[str, Any], wanted: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(wanted)):
        Fields(**given)


def test_fields_of_the_right_types_are_taken() -> None:
    step = Fields(2, 1, "y", False, ["a"], {"north": 1}, (1, 2), Path("a"), "good")
    assert (step.ratio, step.names, step.path) == (1, ["a"], Path("a"))


@pytest.mark.parametrize("value", [3, "x", object()])
def test_a_type_that_cannot_be_asked_allows_every_value(value: Any) -> None:
    step = Fields(anything=value, clock=value)
    assert (step.anything, step.clock) == (value, value)


def test_an_operator_checks_its_own_rules() -> None:
    with pytest.raises(ConfigError, match=re.escape("Scale.width: 0 is not a number of pixels above 0")):
        Scale(0)
    with pytest.raises(ConfigError, match=re.escape("Merge.deadline: 0 is not a number of seconds above 0")):
        Merge(deadline=0)


@pytest.mark.parametrize("name", ["a/b", "", "north gate", "$x", "*", "@"])
def test_a_bad_camera_name_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(f"Camera.cameras: {name!r} is not a name of letters")):
        Camera({name: "street://"})


def test_a_class_without_its_method_cannot_be_built() -> None:
    class Bad(Operator[Frame, Frame]):
        pass

    with pytest.raises(TypeError, match=r"Bad.*process"):
        Bad()  # type: ignore[abstract]


def test_a_field_that_is_no_field_is_an_ordinary_type_error() -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'widht'"):
        Scale(widht=3)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="unexpected keyword argument 'widht'"):
        Scale(widht=choose("width", 3, 4))  # type: ignore[call-arg]


def test_a_knob_starts_at_its_first_value_and_is_remembered() -> None:
    step = Scale(choose("width", 320, 640))
    assert step.width == 320
    assert step.knobs == {"width": Choice("width", (320, 640))}
    assert Scale(320).knobs == {}


@pytest.mark.parametrize(
    ("build", "sentence"),
    [
        (lambda: Scale(choose("w", 320, 0)), "Scale.width: 0 is not a number of pixels above 0"),
        (lambda: Scale(choose("w", 320, "big")), "Scale.width: 'big' is not a value of type int"),  # type: ignore[arg-type]
        (
            lambda: Scale(choose("s", 320, 640), choose("s", 1, 2)),
            'Scale: the knob "s" has two sets of values; give each its own name',
        ),
    ],
)
def test_every_variant_of_a_knob_is_checked(build: Callable[[], object], sentence: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(sentence)):
        build()


def test_knobs_of_one_name_move_together() -> None:
    @dataclass
    class Square(Scale):
        height: int = 1

        def __post_init__(self) -> None:
            super().__post_init__()
            self.require("height", self.height == self.width, "the width")

    assert Square(choose("size", 320, 640), height=choose("size", 320, 640)).height == 320
    with pytest.raises(ConfigError, match=re.escape("Square.height: 640 is not the width")):
        Square(choose("a", 320, 640), height=choose("b", 320, 640))


def test_steps_do_nothing_that_they_were_not_written_for() -> None:
    for step in (Camera({}), Scale(), Slice(), Merge(), Film()):
        assert isinstance(step, Step)
        step.setup()
        step.close()
    assert list(Scale().flush("north")) == []
    assert list(Film().written()) == []
    assert Camera({"north": "x"}).live("north") is False


def test_a_state_moves_where_a_class_says_both_how_it_leaves_and_how_it_comes() -> None:
    class Leaves(Scale):
        def snapshot(self, camera: str) -> str:
            return camera

    class Moves(Leaves):
        def restore(self, camera: str, state: object) -> None:
            pass

    assert Moves().has_snapshot
    assert not any(kind().has_snapshot for kind in (Scale, Leaves, Merge, Film))
    assert Scale().snapshot("north") is None
    Scale().renumber("north", 2)
    with pytest.raises(NotImplementedError, match="Scale has no restore"):
        Scale().restore("north", {})


def test_a_batch_is_its_values_one_by_one() -> None:
    import numpy as np

    frames = [Frame(Origin("north", index=index), np.zeros((2, 2, 3), np.uint8)) for index in range(3)]
    assert Scale().process_batch(frames) == frames


@pytest.mark.parametrize(
    ("name", "answer"), [("a-b_c.1", True), ("1", True), (".a", False), ("a\n", False), ("é", False)]
)
def test_names_that_topics_and_files_can_hold(name: str, answer: bool) -> None:
    assert valid_name(name) is answer


def test_positional_and_keyword_fields_keep_their_places() -> None:
    step = Detect(choose("model", "small", "large"), classes=["car"])
    assert (step.model, step.size, step.classes) == ("small", 640, ["car"])
    assert Track({"north": [(0, 0)]}).zones == {"north": [(0, 0)]}


def test_replacing_a_field_keeps_the_knobs_of_the_others() -> None:
    step = Scale(choose("width", 320, 640), choose("factor", 1.0, 2.0))
    other = replace(step, factor=3.0)
    assert (other.width, other.factor) == (320, 3.0)
    assert other.knobs == {"width": Choice("width", (320, 640))}
    assert replace(step, name="other").knobs == step.knobs
    assert replace(step, width=choose("w", 64)).knobs == step.knobs | {"width": Choice("w", (64,))}
    assert step.knobs.keys() == {"width", "factor"}


def test_steps_compare_by_all_values_of_their_knobs() -> None:
    assert Scale(choose("width", 320, 640)) == Scale(choose("width", 320, 640))
    assert Scale(choose("width", 320, 640)) != Scale(choose("width", 320, 416))
    assert Scale(choose("width", 320, 640)) != Scale(320)


@pytest.mark.parametrize("wrap", [lambda knob: (1, knob), lambda knob: [[knob]], lambda knob: {"north": knob}])
def test_a_knob_inside_a_collection_is_refused(wrap: Callable[[Any], Any]) -> None:
    @dataclass
    class Sized(Scale):
        size: Any = None

    with pytest.raises(ConfigError, match=r"Sized: choose\('s', 1, 2\) stands inside a (tuple|list|dict)"):
        Sized(size=wrap(choose("s", 1, 2)))


def test_the_name_is_there_when_an_author_checks_the_configuration() -> None:
    names = []

    @dataclass
    class Noting(Scale):
        def __post_init__(self) -> None:
            super().__post_init__()
            names.append(self.name)

    Noting()
    Noting(name="given")
    Noting(name="")
    Noting(choose("width", 1, 2))
    assert names == ["Noting", "given", "Noting", "Noting", "Noting"]


def test_the_signature_of_a_step_is_what_a_caller_writes() -> None:
    assert str(inspect.signature(Scale)) == "(width: int = 640, factor: float = 1.0, *, name: str = 'Scale')"
    assert list(inspect.signature(Camera).parameters) == ["cameras", "name"]
    bound = inspect.signature(Scale).bind(320, name="x")
    assert Scale(*bound.args, **bound.kwargs) == Scale(320, name="x")
