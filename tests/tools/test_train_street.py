"""The detector's training: what it learns from, what it is asked for, and that it learns."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch")
pytest.importorskip("onnx", reason="the export needs onnx")

from flowedge import Frame, Origin  # noqa: E402
from flowedge.inference.engines import load  # noqa: E402
from flowedge.operators import Detect  # noqa: E402
from flowedge.video.synthetic.scene import CLASSES, Scene  # noqa: E402
from tools.train_street.export import export  # noqa: E402
from tools.train_street.loss import Grid, assign, generalised_iou  # noqa: E402
from tools.train_street.network import StreetDetector, StreetNet, cells  # noqa: E402
from tools.train_street.tiles import HEIGHT, WIDTH, Rows, Tiles, cut, street_tiles, tile  # noqa: E402
from tools.train_street.training import Recipe, batches, fit  # noqa: E402

SMALL = (96, 160)
GRID = Grid(*cells(*SMALL))


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """So little work is done sooner by one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def street() -> Tiles:
    """One small picture of a street with what is in it, four times."""
    image, truth = Scene(SMALL[1], SMALL[0], people=2, vehicles=2, seed=3, noise=1).render(4.0)
    rows = np.column_stack([truth.boxes, truth.classes, truth.visibility]).astype(np.float32)
    assert len(rows) >= 3
    return Tiles(np.stack([image] * 4), [rows] * 4)


@pytest.fixture(scope="module")
def trained(street: Tiles) -> tuple[StreetNet, list[float]]:
    """A network that saw the picture 160 times, and its loss at each step."""
    steps = list(fit(street, Recipe(80, batch=2, warm_up=5, averaging=0.9)))
    return steps[-1][0].eval(), [float(losses.sum()) for _, losses in steps]


# --- what it learns from ------------------------------------------------------------------------------


def test_a_native_tile_shows_the_frame_pixel_by_pixel() -> None:
    image, truth = Scene(1280, 720, people=30, vehicles=5, seed=1).render(2.0)
    region = (300, 200, 300 + WIDTH, 200 + HEIGHT)
    picture, rows = tile(cut(image, region), truth, region)
    np.testing.assert_array_equal(picture, image[200 : 200 + HEIGHT, 300 : 300 + WIDTH])
    assert len(rows) > 3
    assert (rows[:, :4] >= 0).all()
    assert (rows[:, [0, 2]] <= WIDTH).all()
    assert (rows[:, [1, 3]] <= HEIGHT).all()


def test_what_the_tiles_edge_hides_is_not_visible() -> None:
    image, truth = Scene(1280, 720, people=0, vehicles=1, seed=0, noise=0).render(10.0)
    [box], [visible] = truth.boxes, truth.visibility
    middle = round(float(box[0] + box[2]) / 2)
    region = (max(0, middle - WIDTH), 0, middle, 720)
    _, [row] = tile(cut(image, region), truth, region)
    assert row[5] == pytest.approx(visible / 2, abs=0.02)


def test_a_whole_frame_is_fitted_with_its_boxes() -> None:
    image, truth = Scene(1280, 720, people=8, vehicles=2, seed=1).render(2.0)
    picture, rows = tile(image, truth, (0, 0, 1280, 720))
    assert picture.shape == (HEIGHT, WIDTH, 3)
    np.testing.assert_allclose(rows[:, :4], truth.boxes / 2 + np.float32([0, 12, 0, 12]), atol=1e-3)


def test_the_same_seed_gives_the_same_tiles() -> None:
    first, again, other = (list(islice(street_tiles(seed), 2)) for seed in (5, 5, 6))
    for (picture, rows), (picture2, rows2) in zip(first, again, strict=True):
        np.testing.assert_array_equal(picture, picture2)
        np.testing.assert_array_equal(rows, rows2)
    assert not np.array_equal(first[0][0], other[0][0])


def test_two_processes_share_what_one_would_do_alone(street: Tiles) -> None:
    numbered = Tiles(
        np.arange(4, dtype=np.uint8)[:, None, None, None] * np.ones((1, 8, 8, 3), np.uint8), street.objects
    )

    def seen(batch: int, rank: int, processes: int) -> list[list[int]]:
        parts = batches(numbered, Recipe(3, batch=batch), rank, processes)
        return [(pictures[:, 0, 0, 0] * 255).round().int().tolist() for pictures, _ in parts]

    together = [[*one, *two] for one, two in zip(seen(2, 0, 2), seen(2, 1, 2), strict=True)]
    assert together == seen(4, 0, 1)
    assert all(sorted(step) == [0, 1, 2, 3] for step in together)


def test_a_mirrored_picture_has_mirrored_boxes(street: Tiles) -> None:
    picture, rows = street.pictures[0], torch.from_numpy(street.objects[0])
    plain = torch.from_numpy(picture[:, :, ::-1].copy()).permute(2, 0, 1) / 255
    seen = set()
    for pictures, [objects] in batches(street, Recipe(12, batch=1), 0, 1):
        if torch.equal(pictures[0], plain):
            seen.add("plain")
            torch.testing.assert_close(objects, rows)
        else:
            seen.add("mirrored")
            torch.testing.assert_close(pictures[0], plain.flip(2))
            torch.testing.assert_close(objects[:, 0], SMALL[1] - rows[:, 2])
            torch.testing.assert_close(objects[:, 2], SMALL[1] - rows[:, 0])
            torch.testing.assert_close(objects[:, [1, 3, 4, 5]], rows[:, [1, 3, 4, 5]])
    assert seen == {"plain", "mirrored"}


# --- what it is asked for -----------------------------------------------------------------------------


def rows_of(*rows: list[float]) -> torch.Tensor:
    """Objects of a picture: box, class, visible share."""
    return torch.tensor(rows, dtype=torch.float32).reshape(-1, 6)


def guesses() -> tuple[torch.Tensor, torch.Tensor]:
    """Every cell says a box of 24 x 24 around its centre, and both classes alike."""
    return torch.cat([GRID.centres - 12, GRID.centres + 12], dim=1), torch.full((len(GRID.centres), 2), 0.5)


def test_the_cells_that_overlap_an_object_best_should_find_it() -> None:
    boxes, scores = guesses()
    targets = assign(boxes, scores, rows_of([40, 40, 64, 64, 1, 1.0]), GRID)
    assert targets.classes.unique().tolist() == [1]
    # The cell of the middle grid whose centre is the box's has the box exactly: it should be certain.
    best = targets.positive[targets.quality.argmax()]
    assert (GRID.centres[best] - 52).abs().max() <= 4
    assert (targets.quality.max() - (boxes[best] == targets.boxes[0]).all().float()).abs() < 0.5
    assert ((GRID.centres[targets.positive] > 40) & (GRID.centres[targets.positive] < 64)).all()


def test_nothing_is_asked_where_an_object_is_mostly_hidden() -> None:
    hidden = assign(*guesses(), rows_of([40, 40, 64, 64, 0, 0.1]), GRID)
    assert len(hidden.positive) == 0
    inside = ((GRID.centres > 40) & (GRID.centres < 64)).all(dim=1)
    assert inside.any()
    assert torch.equal(hidden.counted == 0, inside)


def test_what_hides_another_is_still_asked_for() -> None:
    rows = rows_of([40, 40, 64, 64, 0, 0.1], [40, 40, 64, 64, 1, 1.0])
    targets = assign(*guesses(), rows, GRID)
    assert len(targets.positive)
    assert targets.counted[targets.positive].all()


def test_an_empty_picture_asks_for_nothing_everywhere() -> None:
    targets = assign(*guesses(), rows_of(), GRID)
    assert len(targets.positive) == 0
    assert targets.counted.all()


def test_an_object_smaller_than_a_cell_is_asked_for() -> None:
    targets = assign(*guesses(), rows_of([46, 45, 51, 51, 0, 1.0]), GRID)
    assert len(targets.positive)


@pytest.mark.parametrize(
    ("other", "expected"),
    [([0, 0, 10, 10], 1.0), ([0, 0, 10, 5], 0.5), ([10, 0, 20, 10], 0.0), ([20, 0, 30, 10], -1 / 3)],
)
def test_generalised_overlap(other: list[float], expected: float) -> None:
    overlap = generalised_iou(torch.tensor([[0.0, 0, 10, 10]]), torch.tensor([other], dtype=torch.float32))
    assert overlap.item() == pytest.approx(expected, abs=1e-6)


# --- that it learns -----------------------------------------------------------------------------------


def test_the_loss_falls(trained: tuple[StreetNet, list[float]]) -> None:
    _, losses = trained
    assert np.mean(losses[-5:]) < 0.4 * np.mean(losses[:5])


def test_it_repeats_bit_for_bit(street: Tiles) -> None:
    def weights(seed: int) -> torch.Tensor:
        *_, (network, _) = fit(street, Recipe(3, batch=2, seed=seed))
        return torch.cat([each.flatten() for each in network.parameters()])

    assert torch.equal(weights(0), weights(0))
    assert not torch.equal(weights(0), weights(1))


def test_the_exported_network_says_what_torch_says(
    trained: tuple[StreetNet, list[float]], street: Tiles, tmp_path: Path
) -> None:
    pytest.importorskip("onnxruntime", reason="compares with onnxruntime")
    network, _ = trained
    file = tmp_path / "weights" / "street.onnx"
    export(network, CLASSES, SMALL, file)
    model = load(file, "onnxruntime")
    assert model.names == CLASSES
    [found] = model.outputs([street.pictures[0]])
    pixels = torch.from_numpy(street.pictures[0][None, :, :, ::-1].copy()).permute(0, 3, 1, 2) / 255
    with torch.no_grad():
        expected = StreetDetector(network, *SMALL).eval()(pixels)[0].numpy()
    np.testing.assert_allclose(found[:4], expected[:4], atol=0.05)
    np.testing.assert_allclose(found[4:], expected[4:], atol=1e-3)


def test_detect_finds_what_the_network_learned(
    trained: tuple[StreetNet, list[float]], street: Tiles, tmp_path: Path
) -> None:
    file = tmp_path / "street.onnx"
    export(trained[0], CLASSES, SMALL, file)
    detect = Detect(str(file), confidence=0.3)
    detect.setup()
    found = detect.process(Frame(Origin("street"), street.pictures[0]))
    rows: Rows = street.objects[0]
    largest = rows[np.argmax((rows[:, 2] - rows[:, 0]) * (rows[:, 3] - rows[:, 1]))]
    assert len(found)
    overlap = generalised_iou(torch.from_numpy(found.boxes), torch.from_numpy(largest[None, :4]))
    assert overlap.max() > 0.4
    assert found.classes[overlap.argmax()] == largest[4]
