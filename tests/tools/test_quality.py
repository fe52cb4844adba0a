"""The measuring command: readers of truth and results, evaluators, table, CSV and plot."""

import csv
import os
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from flowedge import Detections, Frame, Graph, Origin, Tracks, UserError, join
from flowedge.operators import JSONLines, MOTFile
from flowedge.runtime.run import Run
from flowedge.testing import Collect
from flowedge.vision.evaluation import Ignore, aligned, correctly_tracked, detection_quality
from tools.quality import __main__ as command
from tools.quality.coco import coco_accuracy
from tools.quality.pipeline import Setting, run_setting
from tools.quality.results import read_results
from tools.quality.sources import annotated, originals, read_mot
from tools.quality.tracking import tracking_quality

STREET = "street://?people=6&vehicles=2&width=320&height=180&fps=10&seconds=0.5"

needs_data = pytest.mark.skipif(
    not (os.environ.get("FLOWEDGE_DATA") and os.environ.get("FLOWEDGE_MODELS")),
    reason="FLOWEDGE_DATA and FLOWEDGE_MODELS do not name the evaluation data and the models",
)


def tracks(index: int, boxes: list[tuple[float, ...]], ids: list[int], camera: str = "camera") -> Tracks:
    ones = [1.0] * len(boxes)
    return Tracks(Origin(camera, index=index), boxes, ones, [0] * len(boxes), ("person",), ids=ids)


def square(place: float) -> tuple[float, ...]:
    return (place, 0, place + 10, 10)


def pictures(folder: Path, names: list[str]) -> None:
    folder.mkdir(parents=True)
    for name in names:
        cv2.imwrite(str(folder / name), np.zeros((50, 100, 3), np.uint8))


def run(monkeypatch: pytest.MonkeyPatch, *words: str) -> None:
    monkeypatch.setattr(sys, "argv", ["quality", *words])
    command.main()


def error_of(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str) -> str:
    with pytest.raises(SystemExit) as ended:
        run(monkeypatch, *words)
    assert ended.value.code == 1
    return capsys.readouterr().err


def test_clear_and_identity_figures_by_hand() -> None:
    pytest.importorskip("trackeval")
    truth = [tracks(i, [square(0), square(50)], [1, 2]) for i in range(10)]
    found = [
        tracks(
            i,
            [square(0)] + [square(50)] * (i > 4) + [square(90)] * (i == 9),
            [7 if i < 6 else 8, 9, 3][: 1 + (i > 4) + (i == 9)],
        )
        for i in range(10)
    ]
    quality = tracking_quality(found, truth)
    assert (quality.fp, quality.fn, quality.switches, quality.objects) == (1, 5, 1, 20)
    assert quality.mota == pytest.approx(1 - (1 + 5 + 1) / 20)
    assert quality.idf1 == pytest.approx(2 * 11 / (20 + 16))
    assert correctly_tracked(found, truth) == pytest.approx(11 / 20)
    perfect = tracking_quality(truth, truth)
    assert (perfect.mota, perfect.idf1, perfect.hota) == (1, 1, pytest.approx(1))


def test_correctly_tracked_is_the_identity_recall_of_trackeval() -> None:
    pytest.importorskip("trackeval")
    from trackeval.metrics import Identity

    from tools.quality.tracking import _data

    random = np.random.default_rng(5)
    truth, found = [], []
    for index in range(60):
        places = np.array([0, 12, 24, 40]) + random.normal(0, 2, 4)
        truth.append(tracks(index, [square(p) for p in places], [1, 2, 3, 4]))
        seen = np.flatnonzero(random.random(4) < 0.8)
        ids = (seen + 4 * (index // 20) * (seen % 2)).tolist()
        found.append(tracks(index, [square(p) for p in places[seen] + random.normal(0, 2, len(seen))], ids))
    expected = Identity({"PRINT_CONFIG": False}).eval_sequence(_data(list(zip(found, truth, strict=True))))
    assert correctly_tracked(found, truth) == pytest.approx(expected["IDR"])
    assert 0.3 < expected["IDR"] < 0.9


def test_ignored_tracks_are_no_mistakes() -> None:
    pytest.importorskip("trackeval")
    truth = [tracks(i, [(0, 50, 10, 60), (50, 0, 60, 10)], [1, 2]) for i in range(4)]
    found = [tracks(i, [(0, 50, 10, 60), (80, 0, 90, 10)], [1, 2]) for i in range(4)]
    assert tracking_quality(found, truth).mota == 0
    assert tracking_quality(found, truth, ignore=Ignore(above=20)).mota == 1


def test_an_identity_twice_in_a_frame_is_refused() -> None:
    pytest.importorskip("trackeval")
    one = tracks(3, [square(0)], [1])
    with pytest.raises(
        UserError, match="what was found has the identity 5 more than once in frame 3 of camera"
    ):
        tracking_quality([tracks(3, [square(0), square(50)], [5, 5])], [one])


def test_pycocotools_and_ours_agree_on_a_folder(tmp_path: Path) -> None:
    pytest.importorskip("pycocotools")
    truth = [frame for _, frame in annotated(STREET).frames()]
    found = [frame.select(np.arange(0, len(frame), 2)) for frame in truth]
    ours = detection_quality(found, truth)
    assert coco_accuracy(found, truth) == pytest.approx((ours.ap50, ours.ap))
    assert 0.1 < ours.ap < 0.9


def test_visdrone_regions_and_classes(tmp_path: Path) -> None:
    pictures(tmp_path / "images", ["10.jpg", "9.jpg"])
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "9.txt").write_text("10,5,20,10,1,4,0,0\n50,0,40,40,0,0,0,0,\n")
    (tmp_path / "annotations" / "10.txt").write_text("1,2,3,4,1,2,0,0\n")
    source = annotated(str(tmp_path))
    (first, nine), (_, ten) = source.frames()
    assert (first.width, first.height) == (100, 50)
    assert nine.boxes.tolist() == [[10, 5, 30, 15], [50, 0, 90, 40]]
    assert (nine.labels, ten.labels) == (["car", "ignored"], ["people"])
    found = [
        Detections(nine.origin, [[10, 5, 30, 15], [60, 10, 70, 20]], [0.9, 0.9], [1, 1], ("person", "truck")),
        Detections(ten.origin, [[1, 2, 4, 6]], [0.9], [0], ("person", "truck")),
    ]
    quality = detection_quality(found, [nine, ten], source.classes, source.ignore)
    assert (quality.precision, quality.recall) == (1, 1)
    assert set(quality.classes) == {"person", "vehicle"}


def test_yolo_labels(tmp_path: Path) -> None:
    pictures(tmp_path / "images" / "train", ["a.jpg", "b.jpg"])
    (tmp_path / "labels" / "train").mkdir(parents=True)
    (tmp_path / "labels" / "train" / "a.txt").write_text("2 0.5 0.5 0.2 0.4\n")
    (_, a), (_, b) = annotated(str(tmp_path)).frames()
    np.testing.assert_allclose(a.boxes, [[40, 15, 60, 35]])
    assert (a.labels, len(b)) == (["car"], 0)


def test_mot_rows_without_a_picture_are_left_out(tmp_path: Path) -> None:
    pictures(tmp_path / "walk" / "img1", ["1.jpg", "2.jpg"])
    (tmp_path / "walk" / "gt").mkdir()
    rows = "1,4,10,20,5,6,1,1,1\n1,5,0,0,9,9,0,7,1\n9,4,10,20,5,6,1,1,1\n"
    (tmp_path / "walk" / "gt" / "gt.txt").write_text(rows)
    source = annotated(str(tmp_path / "walk"))
    (_, first), (_, second) = source.frames()
    assert (first.boxes.tolist(), first.ids.tolist(), len(second)) == ([[10, 20, 15, 26]], [4], 0)
    assert source.tracked


def test_a_score_of_0_is_left_out_only_where_rows_have_a_class(tmp_path: Path) -> None:
    for columns, known in (("0,7,0.3", []), ("0,-1,-1,-1", [5])):
        (tmp_path / "gt.txt").write_text(f"1,5,0,0,9,9,{columns}\n")
        assert read_mot(tmp_path / "gt.txt")[0][:, 6].tolist() == known


def test_only_the_frames_that_are_asked_for(tmp_path: Path) -> None:
    pictures(tmp_path / "walk", ["1.jpg", "2.jpg", "3.jpg"])
    (tmp_path / "walk.gt.txt").write_text("3,4,10,20,5,6,1\n")
    (tmp_path / "walk.unique_frames.txt").write_text("0\n2\n")
    source = replace(annotated(str(tmp_path / "walk")), only=originals(str(tmp_path / "walk")))
    assert [frame.origin.index for frame, _ in source.frames()] == [0, 2]
    graph = Graph("some")
    frames, truth = source.begin(graph)
    both: Collect[tuple[Frame, Tracks]] = Collect()
    join(frames, truth) >> both
    with Run(graph) as running:
        running.wait()
    assert [(value.origin.index, len(value)) for _, value in both.values] == [(0, 0), (2, 1)]


@pytest.mark.parametrize("suffix", ["jsonl", "txt"])
def test_results_come_back_as_they_were_written(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"found.{suffix}"
    sink = JSONLines(str(path)) if suffix == "jsonl" else MOTFile(str(path))
    values = [tracks(0, [square(0), square(20)], [3, 5]), tracks(4, [square(9)], [3])]
    for value in values:
        sink.write(value)
    sink.close()
    back = read_results(path, "camera", ("person",))
    assert [type(value) for value in back] == [Tracks, Tracks]
    assert [value.origin.key for value in back] == [("camera", 0), ("camera", 4)]
    assert [value.ids.tolist() for value in back if isinstance(value, Tracks)] == [[3, 5], [3]]
    assert detection_quality(back, values).f1 == 1


def test_mot_results_without_identities_are_detections(tmp_path: Path) -> None:
    (tmp_path / "found.txt").write_text("1,-1,0,0,10,10,0.5\n1,-1,20,0,10,10,-1\n")
    [value] = read_results(tmp_path / "found.txt", "camera", ("person",))
    assert type(value) is Detections
    assert value.scores.tolist() == [0.5, 1]
    with pytest.raises(UserError, match="does not say what its objects are, and 2 classes count"):
        read_results(tmp_path / "found.txt", "camera", ("person", "car"))


def test_the_command_measures_a_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    pytest.importorskip("trackeval")
    pytest.importorskip("matplotlib")
    found = JSONLines(str(tmp_path / "found.jsonl"))
    for _, truth in annotated(STREET).frames():
        found.write(truth.select(np.arange(0, len(truth), 2)))
    found.close()
    table, plot = tmp_path / "table.csv", tmp_path / "curve.png"
    run(monkeypatch, STREET, "--found", str(tmp_path / "found.jsonl"), "--csv", str(table), "--plot", str(plot))
    with table.open() as file:
        [row] = csv.DictReader(file)
    assert row["frames"] == "5"
    assert float(row["precision"]) == 1
    assert 0.3 < float(row["tracked"]) < 0.7
    assert float(row["MOTA"]) == pytest.approx(float(row["recall"]))
    assert cv2.imread(str(plot)).shape == (750, 1200, 3)
    assert "AP50" in capsys.readouterr().out


def test_the_command_measures_a_graph(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    graph = tmp_path / "moving.py"
    graph.write_text(
        "from flowedge import Graph, param\n"
        "from flowedge.operators import MotionDetect, Null, video\n"
        "graph = Graph('moving')\n"
        "video(graph, param('source', 'street://')) >> MotionDetect() >> Null()\n"
    )
    source = STREET.replace("0.5", "4")
    table, names = tmp_path / "table.csv", "anything=person+car+bus+truck+moving"
    run(monkeypatch, source, "--graph", str(graph), "--classes", names, "--csv", str(table))
    with table.open() as file:
        [row] = csv.DictReader(file)
    assert (row["graph"], row["frames"]) == ("moving", "40")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere.mp4", "--model", "m"], "nowhere.mp4: is no file, folder or street:// address"),
        (["rtsp://10.0.0.5/", "--model", "m"], "cameras have no truth to measure by"),
        (["street://?live=1", "--model", "m"], "a live street has no end"),
        ([STREET, "--truth", "a.txt", "--model", "m"], "a street knows its own truth"),
        (
            [STREET, "--model", "m", "--tracker", "magic"],
            "--tracker magic: is none of none, track, picture, tiles",
        ),
        ([STREET, "--model", "m", "--csv", "no/where/a.csv"], "no/where/a.csv: its folder does not exist"),
        (
            [STREET, "--model", "m", "--classes", "person,=car"],
            "--classes person,=car: write names with commas",
        ),
        ([STREET, "--model", "m", "source=a"], "source=a: only --graph takes parameters"),
        ([STREET, "--found", "no.jsonl"], "no.jsonl: cannot be read: No such file"),
    ],
)
def test_bad_input_is_one_sentence(
    words: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    error = error_of(monkeypatch, capsys, *words)
    assert message in error
    assert error.count("\n") == 1


def test_a_truth_that_is_no_table_is_refused(tmp_path: Path) -> None:
    for text, message in (("1,2,three\n", "is not a table of numbers"), ("1,2,3\n", "line 1 has fewer than 6")):
        (tmp_path / "gt.txt").write_text(text)
        with pytest.raises(UserError, match=message):
            read_mot(tmp_path / "gt.txt")


@needs_data
def test_visdrone_reference_of_the_whole_frame() -> None:
    source = annotated(str(Path(os.environ["FLOWEDGE_DATA"], "aerial", "visdrone")))
    outcome = run_setting(source, Setting("yolo11n", 640, lowest=0.05, overlap=0.5, precision="f32"))
    quality = detection_quality(
        aligned(outcome.found, outcome.truth), outcome.truth, source.classes, source.ignore
    )
    # Measured elsewhere with all points of the curve where COCO has 101.
    assert quality.classes["person"].ap50 == pytest.approx(0.083, abs=0.005)
    assert quality.classes["vehicle"].ap50 == pytest.approx(0.372, abs=0.005)


@needs_data
def test_town_centre_ignores_the_strip_nobody_marked() -> None:
    source = annotated(str(Path(os.environ["FLOWEDGE_DATA"], "tracking", "TownCentre.mp4")))
    assert source.ignore.above == 150
    assert sum(len(rows) for rows in source.rows.values()) == 2973
    assert sum(len(source.rows[index]) for index in originals(source.address)) == 2454
