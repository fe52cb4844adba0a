"""The synthetic street: the same picture for the same seed and time, and a truth that fits the pixels."""

import numpy as np
import pytest

from flowedge.video.synthetic.scene import CLASSES, Scene

SMALL = {"width": 320, "height": 180}


def boxes_by_id(truth):
    return dict(zip(truth.ids.tolist(), truth.boxes, strict=True))


def visibility_by_id(truth):
    return dict(zip(truth.ids.tolist(), truth.visibility.tolist(), strict=True))


def assert_same(one, other):
    assert np.array_equal(one[0], other[0])
    for column in ("boxes", "ids", "classes", "visibility"):
        assert np.array_equal(getattr(one[1], column), getattr(other[1], column))


def test_pictures_and_truth_have_the_promised_shapes_and_types():
    image, truth = Scene(**SMALL, seed=3).render(2.0)
    count = len(truth.ids)
    assert (image.shape, image.dtype) == ((180, 320, 3), np.uint8)
    assert (truth.boxes.shape, truth.boxes.dtype) == ((count, 4), np.float32)
    assert (truth.ids.dtype, truth.classes.dtype, truth.visibility.dtype) == (np.int64, np.int32, np.float32)
    assert len(set(truth.ids.tolist())) == count > 0
    assert set(truth.classes.tolist()) <= set(range(len(CLASSES)))


def test_any_moment_renders_alike_in_any_order_and_in_another_scene():
    times = [0.0, 40.0, 1.25, 7.5, 1.25, 3600.0]
    scene, twin = Scene(**SMALL, seed=5), Scene(**SMALL, seed=5)
    first = {time: scene.render(time) for time in times}
    for time in reversed(times):
        assert_same(first[time], twin.render(time))


def test_the_picture_is_fresh_each_time():
    scene = Scene(**SMALL, seed=5)
    image, _ = scene.render(1.0)
    before = image.copy()
    image[:] = 0
    assert np.array_equal(scene.render(1.0)[0], before)


def test_seeds_differ_in_street_and_traffic():
    empty = [Scene(**SMALL, people=0, vehicles=0, seed=seed, noise=0).render(0)[0] for seed in range(4)]
    for index, image in enumerate(empty):
        for other in empty[:index]:
            assert np.mean(np.abs(image.astype(int) - other)) > 5
    first, second = (Scene(**SMALL, seed=seed).render(0)[1] for seed in (1, 2))
    assert not np.array_equal(first.boxes, second.boxes)


def test_noise_has_the_asked_strength_and_changes_with_time():
    still, noisy = (Scene(**SMALL, people=0, vehicles=0, seed=1, noise=noise) for noise in (0, 3.0))
    background = still.render(0)[0].astype(int)
    first, second = (noisy.render(time)[0].astype(int) - background for time in (0.0, 0.04))
    middle = (background > 20) & (background < 235)
    assert first[middle].std() == pytest.approx(3.0, abs=0.15)
    assert abs(first[middle].mean()) < 0.1
    assert np.corrcoef(first.ravel(), second.ravel())[0, 1] == pytest.approx(0, abs=0.03)


@pytest.mark.parametrize(("people", "vehicles"), [(1, 0), (0, 1)])
def test_boxes_fit_the_pixels_that_an_object_changes(people, vehicles):
    size, seen = {"width": 480, "height": 270}, 0
    for seed in range(4):
        empty = Scene(**size, people=0, vehicles=0, seed=seed, noise=0).render(0)[0].astype(float)
        scene = Scene(**size, people=people, vehicles=vehicles, seed=seed, noise=0)
        for time in (0.0, 6.0, 13.0):
            image, truth = scene.render(time)
            if not len(truth.ids):
                continue
            seen += 1
            (x1, y1, x2, y2), visible = truth.boxes[0].astype(int), truth.visibility[0]
            changed = (np.abs(image - empty) > 4).any(axis=2)
            assert changed[y1:y2, x1 : x1 + 3].any()
            assert changed[y1:y2, x2 - 3 : x2].any()
            assert changed[y1 : y1 + 3, x1:x2].any()
            assert changed[y2 - 3 : y2, x1:x2].any()
            # Outside the box, with a pixel for soft edges, there is nothing but shadow.
            changed[max(y1 - 1, 0) : y2 + 1, max(x1 - 1, 0) : x2 + 1] = False
            brightness = image[changed].sum(axis=1) / np.maximum(empty[changed].sum(axis=1), 1)
            assert np.all((brightness > 0.45) & (brightness < 1)), (seed, time, visible)
    assert seen >= 4


def test_boxes_lie_in_the_frame_and_small_shares_are_left_out():
    for seed in range(4):
        scene = Scene(**SMALL, people=25, vehicles=9, seed=seed)
        for time in range(0, 20, 4):
            _, truth = scene.render(time)
            assert np.all(truth.boxes[:, :2] >= 0)
            assert np.all(truth.boxes[:, 2:] <= (320, 180))
            assert np.all(truth.boxes[:, 2:] - truth.boxes[:, :2] >= 2)
            assert np.all((truth.visibility >= 0.1) & (truth.visibility <= 1))


def test_what_the_edge_cuts_by_less_than_a_pixel_is_at_most_whole():
    _, truth = Scene(640, 360, seed=1).render(107 / 25)
    assert truth.visibility.max() <= 1


def test_objects_move_smoothly_and_come_and_go_at_the_edges():
    scene = Scene(640, 360, people=8, vehicles=4, seed=4)
    _, before = scene.render(0)
    for frame in range(1, 120):
        _, truth = scene.render(frame / 30)
        old, new = boxes_by_id(before), boxes_by_id(truth)
        clear = visibility_by_id(truth)
        for identity, box in new.items():
            if identity not in old:
                on_edge = min(box[0], box[1], 640 - box[2], 360 - box[3]) <= 2
                assert on_edge or clear[identity] < 0.5, (frame, identity, box)
            elif min(clear[identity], visibility_by_id(before)[identity]) > 0.97:
                assert np.abs(box - old[identity]).max() < 16
        before = truth


def test_those_who_left_are_replaced_by_others():
    scene = Scene(**SMALL, people=10, vehicles=4, seed=2)
    _, early = scene.render(0)
    _, late = scene.render(600)
    assert not set(early.ids.tolist()) & set(late.ids.tolist())


def test_most_of_the_requested_objects_are_in_view():
    people, vehicles = [], []
    for seed in range(3):
        scene = Scene(**SMALL, people=20, vehicles=8, seed=seed)
        for time in range(0, 60, 9):
            _, truth = scene.render(time)
            people.append(int((truth.classes == 0).sum()))
            vehicles.append(int((truth.classes > 0).sum()))
    assert max(people) <= 20
    assert max(vehicles) <= 8
    assert np.mean(people) > 12
    assert np.mean(vehicles) > 4.5


def test_vehicles_hide_people_behind_them_and_change_nothing_else_about_them():
    alone, crowd = (Scene(640, 360, people=12, vehicles=count, seed=1, noise=0) for count in (0, 8))
    hidden = 0
    for time in np.arange(0, 30, 2):
        _, free = alone.render(time)
        _, partly = crowd.render(time)
        free_boxes, free_shares = boxes_by_id(free), visibility_by_id(free)
        shares = visibility_by_id(partly)
        for identity, box in boxes_by_id(partly).items():
            if identity % 2:
                whole = free_boxes[identity]
                assert np.all(box[:2] >= whole[:2])
                assert np.all(box[2:] <= whole[2:])
                assert shares[identity] <= free_shares[identity]
                hidden += shares[identity] < free_shares[identity]
    assert hidden > 0


def test_what_leaves_the_frame_is_less_visible():
    scene = Scene(**SMALL, people=0, vehicles=2, seed=3, noise=0)
    cut = whole = 0
    for time in np.arange(0, 40, 0.5):
        _, truth = scene.render(time)
        for box, share in zip(truth.boxes, truth.visibility, strict=True):
            if box[0] > 0 and box[1] > 0 and box[2] < 320 and box[3] < 180:
                whole += share > 0.5
            elif box[2] - box[0] < 20:
                assert share < 0.9
                cut += 1
    assert cut
    assert whole


@pytest.mark.parametrize(("width", "height"), [(64, 64), (64, 720), (1000, 64), (333, 201), (96, 1500)])
def test_any_frame_size_works(width, height):
    image, truth = Scene(width, height, people=3, vehicles=2, seed=1).render(5.0)
    assert image.shape == (height, width, 3)
    assert np.all(truth.boxes <= (width, height, width, height))


def test_a_street_may_be_empty():
    _, truth = Scene(**SMALL, people=0, vehicles=0).render(1.0)
    assert truth.boxes.shape == (0, 4)
    assert len(truth.ids) == len(truth.classes) == len(truth.visibility) == 0


def test_buses_and_trucks_come_by():
    kinds = {
        kind
        for seed in range(4)
        for time in (0, 200)
        for kind in Scene(64, 64, people=0, vehicles=4, seed=seed).render(time)[1].classes.tolist()
    }
    assert kinds == {1, 2, 3}


@pytest.mark.parametrize(
    ("field", "value", "mend"),
    [
        ("width", 63, "whole number from 64 to 4096"),
        ("height", 5000, "whole number from 64 to 4096"),
        ("width", 640.0, "whole number"),
        ("people", -1, "from 0"),
        ("vehicles", True, "whole number"),
        ("seed", -3, "from 0"),
        ("noise", -0.5, "from 0 to 64 grey levels"),
        ("noise", float("nan"), "from 0 to 64 grey levels"),
    ],
)
def test_bad_arguments_are_named_with_their_value_and_mend(field, value, mend):
    with pytest.raises(ValueError, match=f"^{field} is .*{mend}") as caught:
        Scene(**{field: value})
    assert repr(value) in str(caught.value)


@pytest.mark.parametrize("time", [-0.1, float("nan"), float("inf")])
def test_a_time_that_is_none_is_refused(time):
    with pytest.raises(ValueError, match=r"time is .*; give the seconds since the start"):
        Scene(64, 64, people=0, vehicles=0).render(time)
