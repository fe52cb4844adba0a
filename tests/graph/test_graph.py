"""Building a graph: what fits, and the sentence for each thing that does not."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flowedge import ConfigError, Frame, Goal, Graph, GraphError, Operator, choose, join, synchronize, unzip
from flowedge.graph.nodes import Half, Output, Pair
from flowedge.graph.signature import readable
from flowedge.graph.synchronization import Synchronize
from flowedge.operators import JSONLines, MotionDetect, Resize, VideoFile, video
from tests.graph_steps import (
    Behind,
    Both,
    Camera,
    Detect,
    Draw,
    Drop,
    Film,
    Keep,
    Lines,
    Merge,
    Scale,
    Slice,
    Track,
    camera,
)


def crossing(width: Any = 640) -> Graph:
    graph = Graph("crossing", goal=Goal(latency="250 ms"))
    frames = camera(graph)
    tracks = frames >> Scale(width) >> Slice() >> Detect() >> Merge() >> Track()
    join(frames, tracks) >> Draw() >> Film()
    return graph


def test_a_graph_is_its_nodes_in_the_order_of_declaration() -> None:
    graph = crossing()
    graph.check()
    assert [node.name for node in graph.nodes] == [
        "Camera", "Scale", "Slice", "Detect", "Merge", "Track", "Draw", "Film",
    ]  # fmt: skip
    assert [node.name for node in graph.nodes if node.tiled] == ["Detect", "Merge"]
    assert [node.name for node in graph.sources()] == ["Camera"]
    assert [node.name for node in graph.sinks()] == ["Film"]
    assert graph.node("Draw").input == Pair(Output("Camera"), Output("Track"))


def test_graphs_compare_by_what_they_are() -> None:
    assert crossing() == crossing() == copy.deepcopy(crossing())
    assert hash(crossing()) == hash(crossing())
    assert crossing() in {crossing()}
    assert crossing() != crossing(width=320)
    assert crossing() != "crossing"


def test_a_graph_in_a_set_is_found_again_when_it_has_grown() -> None:
    graph = Graph("growing", goal=Goal(accuracy=0.5))
    graphs = {graph}
    camera(graph) >> Film()
    assert graph in graphs


def test_graphs_compare_by_all_values_of_their_knobs() -> None:
    assert crossing(choose("width", 640, 320)) == crossing(choose("width", 640, 320))
    assert crossing(choose("width", 640, 320)) != crossing(choose("width", 640, 416))
    assert crossing(choose("width", 640, 320)) != crossing(640)


def test_unzip_is_the_inverse_of_join() -> None:
    graph = Graph("g")
    frames = camera(graph)
    left, right = unzip(join(frames, frames >> Detect()))
    left >> Film()
    right >> Lines()
    graph.check()
    assert graph.node("Lines").input == Half(Pair(Output("Camera"), Output("Detect")), 1)


def test_parts_can_be_joined_and_unzipped() -> None:
    graph = Graph("g")
    tiles: Any = camera(graph) >> Slice()
    _, found = unzip(join(tiles, tiles >> Detect()))
    with pytest.raises(GraphError, match="parts of a split"):
        found >> Lines()
    assert graph.nodes[-1].name == "Detect"


def unknown(graph: Graph) -> Any:
    """A handle whose type a checker does not know, as it is for a user who runs none."""
    return camera(graph)


WRONG: dict[str, tuple[Callable[[Any], object], str]] = {
    "detections where frames are wanted": (
        lambda frames: frames >> Detect() >> Film(),
        (
            "Film takes Frame, but Detect gives Detections: "
            "draw them on their frames first, join(frames, detections) >> Draw()"
        ),
    ),
    "frames where detections are wanted": (
        lambda frames: frames >> Track(),
        "Track takes Detections, but Camera gives Frame: put a Detect() between them",
    ),
    "one half of a pair": (
        lambda frames: frames >> Draw(),
        (
            "Draw takes (Frame, Detections), but Camera gives Frame: "
            "join it with a stream of Detections, e.g. join(frames, detections)"
        ),
    ),
    "the other half of a pair, as a subclass": (
        lambda frames: frames >> Detect() >> Track() >> Draw(),
        (
            "Draw takes (Frame, Detections), but Track gives Tracks: "
            "join it with a stream of Frame, e.g. join(frames, detections)"
        ),
    ),
    "a pair the wrong way round": (
        lambda frames: join(frames >> Detect(), frames) >> Draw(),
        "Draw takes (Frame, Detections), but join(Detect, Camera) gives (Detections, Frame)",
    ),
    "what a filter passes on": (
        lambda frames: frames >> Keep(),
        "Keep takes Detections, but Camera gives Frame: put a Detect() between them",
    ),
    "tiles into a sink": (
        lambda frames: frames >> Slice() >> Film(),
        (
            "Film takes whole frames, but Slice gives the parts of a split: "
            "put a Gather such as NonMaxMerge() between them"
        ),
    ),
    "tiles split again": (
        lambda frames: frames >> Slice() >> Slice(name="again"),
        "again takes whole frames, but Slice gives the parts of a split",
    ),
    "tiles gathered as another type": (
        lambda frames: frames >> Slice() >> Merge(),
        "Merge takes Detections, but Slice gives Frame: put a Detect() between them",
    ),
    "gathering what was not split": (
        lambda frames: frames >> Detect() >> Merge(),
        "Merge gathers the parts of a split, but Detect was not split: put a Split such as Slice() before it",
    ),
    "state per camera on tiles": (
        lambda frames: frames >> Slice() >> Detect() >> Track(),
        (
            "Track keeps state per camera, but Detect gives the parts of a split: "
            "put it before the split or after the gather"
        ),
    ),
    "a delayed operator on tiles": (
        lambda frames: frames >> Slice() >> Behind(),
        "Behind gives its results later, frame by frame: put it before the split",
    ),
    "two of one name": (
        lambda frames: frames >> Scale() >> Scale(),
        'two operators are named Scale: give one another name, e.g. Scale(..., name="Scale2")',
    ),
    "join of tiles with frames": (
        lambda frames: join(frames, frames >> Slice()),
        "join of Camera and Slice: one is split into parts and the other is not; gather first",
    ),
    "join of the tiles of two splits": (
        lambda frames: join(frames >> Slice(), frames >> Slice(name="other")),
        "join of Slice and other: the parts come from two splits, Slice and other",
    ),
    "join of different cameras": (
        lambda frames: join(frames, camera(frames.graph, "south", "second")),
        (
            "join of Camera and second: their cameras differ (Camera and second); "
            "frames can only be paired with results from the same source"
        ),
    ),
    "join of different graphs": (
        lambda frames: join(frames, camera(Graph("other"))),
        "join of Camera and Camera: they belong to two graphs, g and other",
    ),
    "one camera twice": (
        lambda frames: camera(frames.graph, "north", "second"),
        'second: a camera named "north" is in the graph already; name cameras with a mapping',
    ),
    "unzip of what is no pair": (
        lambda frames: unzip(frames),
        "unzip: Camera gives Frame, not pairs",
    ),
    "a source in the middle": (
        lambda frames: frames >> Camera({"south": "street://"}, name="second"),
        "second is a source, where streams begin; Camera cannot feed it: use graph.source(...)",
    ),
    "no operator at all": (
        lambda frames: frames >> Slice() >> print,
        "Slice >> <built-in function print>: the right side is not an operator",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_does_not_fit_is_refused_where_it_is_written(case: str) -> None:
    build, sentence = WRONG[case]
    with pytest.raises(GraphError, match=re.escape(sentence)):
        build(unknown(Graph("g")))


def test_a_refused_operator_is_not_in_the_graph() -> None:
    graph = Graph("g")
    frames = unknown(graph)
    with pytest.raises(GraphError):
        frames >> Track()
    assert [node.name for node in graph.nodes] == ["Camera"]


def test_only_pairs_can_be_unzipped_though_a_union_has_two_types_also() -> None:
    class Either(Operator[Frame, int | str]):
        def process(self, frame: Frame, /) -> int | str:
            return 0

    either: Any = camera(Graph("g")) >> Either()
    with pytest.raises(GraphError, match=re.escape("unzip: Either gives int | str, not pairs")):
        unzip(either)


def ungathered(frames: Any) -> None:
    frames >> Slice() >> Detect()


def unsplit(frames: Any) -> None:
    frames >> Slice()


def without_sink(frames: Any) -> None:
    frames >> Slice() >> Detect() >> Merge()


def disagreeing_knobs(frames: Any) -> None:
    frames >> Scale(choose("size", 320, 640)) >> Detect(size=choose("size", 320, 416)) >> Lines()


@pytest.mark.parametrize(
    ("build", "sentence"),
    [
        (ungathered, "Detect leaves a split ungathered: add a Gather such as NonMaxMerge()"),
        (unsplit, "Slice leaves a split ungathered: add a Gather such as NonMaxMerge()"),
        (without_sink, "Merge gives a stream that has no sink: add one, e.g. >> Null()"),
        (lambda _: None, "Camera gives a stream that has no sink: add one, e.g. >> Null()"),
        (
            disagreeing_knobs,
            (
                'the knob "size" has the values (320, 640) in Scale but (320, 416) in Detect: '
                "give both the same values or different names"
            ),
        ),
    ],
)
def test_an_unfinished_graph_is_refused(build: Callable[[Any], None], sentence: str) -> None:
    graph = Graph("g")
    build(unknown(graph))
    with pytest.raises(GraphError, match=re.escape(sentence)):
        graph.check()


def test_an_empty_graph_is_refused() -> None:
    with pytest.raises(GraphError, match=re.escape("the graph g is empty: begin with video(graph, url)")):
        Graph("g").check()


def test_both_results_of_an_operator_may_end_in_one_sink_or_in_two() -> None:
    graph = Graph("g")
    frames, found = unzip(camera(graph) >> Both())
    join(frames, found) >> Drop()
    found >> Lines()
    graph.check()


@pytest.mark.parametrize("name", ["", "a b", "a/b", ".a", "a\n", "straße"])
def test_a_graph_has_a_name_that_topics_and_files_can_hold(name: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(f"Graph.name: {name!r} is not a name of letters")):
        Graph(name)


@pytest.mark.parametrize(
    ("goal", "sentence"),
    [
        ({"latency": "fast"}, "Goal.latency: 'fast' is not a time like \"250 ms\""),
        ({"latency": 250}, "Goal.latency: 250 is not a time"),
        ({"throughput": 0}, "Goal.throughput: 0 is not a number of frames per second above 0"),
        ({"throughput": "25"}, "Goal.throughput: '25' is not a number"),
        ({"accuracy": 60}, "Goal.accuracy: 60 is not a number from 0 to 1"),
        ({"accuracy": float("nan")}, "Goal.accuracy: nan is not a number from 0 to 1"),
        ({"minimize": "time"}, "Goal.minimize: 'time' is not \"energy\""),
        ({"pins": ["Draw"]}, "Goal.pins: ['Draw'] is not a mapping of operators to tiers"),
        ({"pins": {"Draw": 1}}, "Goal.pins: {'Draw': 1} is not a mapping of operators to tiers"),
    ],
)
def test_a_goal_that_cannot_be_is_refused(goal: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(sentence)):
        Goal(**goal)


def test_goals_of_every_unit() -> None:
    for latency in ("250 ms", "0.5s", "100 us", "1 min"):
        assert Goal(latency=latency, throughput=25, accuracy=1).latency == latency


@pytest.mark.parametrize(
    ("pins", "sentence"),
    [
        ({"Scal": "edge"}, "Goal.pins: there is no operator 'Scal'; did you mean \"Scale\"?"),
        ({"Camera": "edge"}, "Goal.pins: Camera is a source and runs where its cameras are: leave it out"),
    ],
)
def test_pins_that_cannot_hold_are_refused(pins: dict[str, str], sentence: str) -> None:
    graph = Graph("g", goal=Goal(pins=pins))
    camera(graph) >> Scale() >> Film()
    with pytest.raises(GraphError, match=re.escape(sentence)):
        graph.check()


def test_a_pinned_goal_is_one_value() -> None:
    tiers = {"Film": "edge"}
    goal = Goal(pins=tiers, minimize="utility")
    tiers["Film"] = "cloud"
    assert goal == Goal(pins={"Film": "edge"}, minimize="utility") != Goal(minimize="utility")
    assert hash(goal) == hash(Goal(pins={"Film": "edge"}, minimize="utility"))


def test_synchronize_takes_the_only_cameras_of_two_sources():
    graph = Graph("pairs")
    north, south = (camera(graph, name, f"{name}-source") for name in ("north", "south"))
    synchronize(north, south >> Detect(), tolerance="20 ms", deadline=0.5) >> Drop()
    node = graph.node("Synchronize")
    assert isinstance(node.step, Synchronize)
    assert (node.step.pair, node.step.tolerance, node.step.deadline) == (("north", "south"), 0.02, 0.5)
    assert readable(node.gives) == "(Frame, Detections)"
    assert graph.sinks_behind("north-source") == graph.sinks_behind("south-source") == ("Drop",)
    graph.check()


def test_streams_behind_a_synchronize_are_joined_with_each_other_only():
    graph = Graph("pairs")
    frames = graph.source(Camera({"north": "a", "south": "b"}))
    pairs = synchronize(frames, cameras=("north", "south"))
    left, right = unzip(pairs)
    join(left >> Detect(), right) >> Drop()
    with pytest.raises(GraphError, match=r"their cameras differ .* with synchronize\(a, b\)"):
        join(left, frames)


@pytest.mark.parametrize(
    ("cameras", "sentence"),
    [
        (("north", "nroth"), 'Camera has no camera "nroth"; did you mean "north"?'),
        (("north",), "the names of two cameras like"),
        (("north", "north"), "the names of two cameras like"),
        (None, 'say which two of north, south, e.g. cameras=\\("north", "south"\\)'),
    ],
)
def test_cameras_that_cannot_be_synchronized_are_one_sentence(cameras, sentence):
    graph = Graph("pairs")
    frames = graph.source(Camera({"north": "a", "south": "b"}))
    with pytest.raises((GraphError, ConfigError), match=sentence):
        synchronize(frames, cameras=cameras)


def test_streams_of_one_source_are_joined_before_they_are_synchronized():
    graph = Graph("pairs")
    frames = graph.source(Camera({"north": "a", "south": "b"}))
    with pytest.raises(GraphError, match="both have frames of Camera; join them first"):
        synchronize(frames, frames >> Detect(), cameras=("north", "south"))
    with pytest.raises(GraphError, match="gather first"):
        synchronize(frames >> Slice(), cameras=("north", "south"))
    with pytest.raises(GraphError, match="streams are synchronized by synchronize"):
        frames >> Synchronize(("north", "south"))


@pytest.mark.parametrize("time", ["fast", "-1 s", -1, float("inf"), True])
def test_a_tolerance_of_another_form_is_refused(time):
    graph = Graph("pairs")
    north, south = (camera(graph, name, f"{name}-source") for name in ("north", "south"))
    with pytest.raises(ConfigError, match=r'synchronize: tolerance: .* or a time like "40 ms"'):
        synchronize(north, south, tolerance=time)


@pytest.mark.parametrize(
    ("one", "other"),
    [("out.mp4", "./out.mp4"), ("{camera}.mp4", "{camera}.mp4"), ("{camera}.mp4", "north.mp4")],
)
def test_two_sinks_on_one_path_are_refused(one, other):
    graph = Graph("test")
    frames = video(graph, {"north": "street://"})
    frames >> VideoFile(one, name="one")
    frames >> VideoFile(other, name="other")
    with pytest.raises(GraphError, match=r'one and other would both write ".*": give one of them another path'):
        graph.check()


def test_sinks_may_share_the_standard_output_and_devices():
    graph = Graph("test")
    found = video(graph, {"north": "street://"}) >> MotionDetect()
    for path in ("-", "/dev/null"):
        for number in range(2):
            found >> JSONLines(path, name=f"{Path(path).name}{number}")
    graph.check()


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (lambda graph: graph.source("rtsp://me:secret@x"), "not a source; write video(graph, 'rtsp://"),
        (lambda graph: graph.source(Resize(320)), "not a source; write stream >> step"),
        (
            lambda graph: join(video(graph, "street://"), Resize(320)),
            "not a stream; give stream >> Resize(...)",
        ),
        (lambda graph: join(None, video(graph, "street://")), "join: None is not a stream"),
    ],
)
def test_what_is_no_source_or_stream_is_refused_in_a_sentence(wrong, sentence):
    with pytest.raises(GraphError, match=re.escape(sentence)) as caught:
        wrong(Graph("g"))
    assert "secret" not in str(caught.value)
