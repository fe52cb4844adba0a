import json
from pathlib import Path

import pytest

from flowedge import ConfigError, Detections, Graph, Operator, Origin, Tracks, join
from flowedge.operators import street
from flowedge.operators.quality import Quality
from flowedge.runtime.run import Run

NAMES = ("person", "car")


def truth(index: int = 0, visible: float = 1.0) -> Tracks:
    boxes = [[0, 0, 10, 10], [20, 0, 30, 10]]
    return Tracks(Origin("north", index=index), boxes, [1.0, visible], [0, 1], NAMES, ids=[1, 2])


def without_ids(tracks: Tracks) -> Detections:
    return Detections(tracks.origin, tracks.boxes, tracks.scores, tracks.classes, tracks.names)


def written(sink: Quality, *pairs: tuple[Detections, Tracks]) -> Quality:
    sink.setup()
    for pair in pairs:
        sink.write(pair)
    return sink


class Half(Operator[Tracks, Tracks]):
    """Finds every second object of the truth."""

    name = "Half"

    def process(self, value: Tracks, /) -> Tracks:
        return value.select(slice_of(len(value)))


def slice_of(count: int) -> list[int]:
    return list(range(0, count, 2))


def test_a_summary_of_what_was_found() -> None:
    sink = written(Quality(), *((truth(i).select([0]), truth(i)) for i in range(3)))
    assert sink.summary() == (
        "quality of 3 frames, 6 objects: AP50 0.50, F1 0.67 at confidence 0.25, correctly tracked 50 %",
    )


def test_without_identities_nothing_is_said_about_tracks() -> None:
    sink = written(Quality(), (truth(), truth()), (without_ids(truth(1)), truth(1)))
    assert sink.correctly_tracked is None
    assert sink.summary() == ("quality of 2 frames, 4 objects: AP50 1.00, F1 1.00 at confidence 0.25",)


def test_hidden_objects_do_not_count_and_the_summary_says_so() -> None:
    pair = (truth().select([0]), truth(visible=0.2))
    assert written(Quality(), pair).quality.recall == 0.5
    sink = written(Quality(visible=0.25), pair)
    assert sink.quality.recall == 1
    assert sink.correctly_tracked == 1
    assert sink.summary()[0].endswith("correctly tracked 100 %; objects less than 25 % visible are ignored")


def test_other_names_by_classes() -> None:
    found = Detections(Origin("north"), [[0, 0, 10, 10], [20, 0, 30, 10]], [0.9, 0.9], [0, 0], ("moving",))
    everything = {"anything": ("person", "car", "moving")}
    assert written(Quality(everything), (found, truth())).quality.f1 == 1
    with pytest.raises(ConfigError, match="what was found is called moving, what counts person, car"):
        written(Quality(), (found, truth()))


def test_nothing_to_measure() -> None:
    empty = truth().select([])
    assert written(Quality()).summary() == ("quality: no frame was measured",)
    assert written(Quality(), (empty, empty)).summary() == ("quality of 1 frame: no object was to be found",)


def test_the_file_has_all_figures(tmp_path: Path) -> None:
    sink = written(Quality(path=str(tmp_path / "new" / "quality.json")), (truth().select([0]), truth()))
    assert sink.written() == ()
    sink.close()
    [path] = sink.written()
    figures = json.loads(path.read_text())
    assert (figures["frames"], figures["recall"], figures["correctly_tracked"]) == (1, 0.5, 0.5)
    assert figures["classes"]["car"] == {
        "objects": 1,
        "found": 0,
        "correct": 0,
        "ap50": 0.0,
        "ap": 0.0,
        "precision": 0.0,
        "recall": 0.0,
        "f1": 0.0,
    }


def test_a_second_setup_starts_from_nothing() -> None:
    sink = written(Quality(), (truth(), truth()))
    sink.setup()
    assert sink.quality.frames == 0


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"visible": 1.5}, r"Quality.visible: 1.5 is not a share from 0 to 1"),
        ({"confidence": -0.1}, r"Quality.confidence: -0.1 is not a share from 0 to 1"),
        ({"classes": {}}, r"Quality.classes: \{\} is not at least one class, or None"),
        (
            {"classes": {"vehicle": "car"}},
            r"Quality.classes: .* is not a value of type Mapping\[str, Sequence\[str\]\]",
        ),
        ({"path": "{camera}.json"}, "Quality.path: '{camera}.json' is not a path like"),
    ],
)
def test_bad_fields_are_one_sentence(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Quality(**fields)  # type: ignore[arg-type]


def test_a_run_ends_with_the_quality_of_every_frame() -> None:
    graph = Graph("measured")
    frames, true = street(graph, "street://?people=6&vehicles=2&width=320&height=180&fps=10&seconds=1")
    del frames
    join(true >> Half(), true) >> Quality()
    with Run(graph) as run:
        report = run.wait()
    [line] = report.findings
    assert line.startswith("quality of 10 frames, ")
    assert "correctly tracked" in line
