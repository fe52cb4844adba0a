"""The decoupled filter against the textbook's matrices."""

from __future__ import annotations

import numpy as np
import pytest

from flowedge.vision.tracking.kalman import Motion, Noise


def test_centres_are_filtered_as_by_the_matrix_equations() -> None:
    noise, rng = Noise(), np.random.default_rng(0)
    size = np.array([20.0, 60.0])
    measured = np.array([[100.0, 200.0, *size]])
    motion = Motion.begin(measured, noise)
    state = np.array([100.0, 0.0])
    spread = np.diag([(noise.measured * 20) ** 2, (noise.start * 20) ** 2])
    for seconds in rng.uniform(0.02, 0.5, 12):
        step = np.array([[1, seconds], [0, 1]])
        grown = np.diag([(noise.walk * 20) ** 2, (noise.surge * 20) ** 2]) * seconds
        state, spread = step @ state, step @ spread @ step.T + grown
        seen = state[0] + rng.normal(0, 4)
        gain = spread[:, 0] / (spread[0, 0] + (noise.measured * 20) ** 2)
        state, spread = state + gain * (seen - state[0]), spread - np.outer(gain, spread[0])
        motion.predict(float(seconds), noise)
        motion.update(np.array([0]), np.array([[seen, 200.0, *size]]), noise)
        assert motion.position[0, 0] == pytest.approx(state[0])
        assert motion.velocity[0, 0] == pytest.approx(state[1])
        assert (motion.pp[0, 0], motion.pv[0, 0], motion.vv[0, 0]) == pytest.approx(
            (spread[0, 0], spread[0, 1], spread[1, 1])
        )


def test_one_step_and_many_short_ones_predict_the_same_place() -> None:
    noise = Noise()
    one, many = (Motion.begin(np.array([[0.0, 0, 20, 60]]), noise) for _ in range(2))
    for motion in (one, many):
        motion.velocity[0, :2] = 30, -10
    one.predict(1.0, noise)
    for _ in range(50):
        many.predict(0.02, noise)
    assert many.position[0] == pytest.approx(one.position[0])
    assert many.pp[0, 0] == pytest.approx(one.pp[0, 0], rel=0.05)


def test_a_box_that_shrank_stops_shrinking_and_never_vanishes() -> None:
    motion = Motion.begin(np.array([[50.0, 50, 20, 60]]), Noise())
    motion.velocity[0, 2:] = -5, -500
    for _ in range(100):
        motion.predict(0.1, Noise())
    assert motion.position[0, 2] > 15
    assert motion.position[0, 3] >= 1


def test_in_a_picture_of_another_size_all_goes_on_as_before() -> None:
    noise, factor = Noise(), np.array([0.5, 0.75, 0.5, 0.75])
    measured = np.array([[100.0, 200, 40, 80], [130, 190, 42, 88]])
    plain, scaled = (Motion.begin(measured[:1], noise) for _ in range(2))
    scaled.scale(0.5, 0.75)
    for motion, boxes in ((plain, measured), (scaled, measured * factor)):
        motion.predict(0.2, noise)
        motion.update(np.array([0]), boxes[1:], noise)
        motion.predict(0.2, noise)
    assert scaled.position == pytest.approx(plain.position * factor)
    assert scaled.velocity == pytest.approx(plain.velocity * factor)
    assert scaled.pp == pytest.approx(plain.pp * factor**2)


def test_a_turn_of_the_camera_moves_places_and_velocities() -> None:
    motion = Motion.begin(np.array([[10.0, 0, 20, 60]]), Noise())
    motion.velocity[0, :2] = 5, 0
    motion.shift(np.array([[0.0, -2, 100], [2, 0, 7]]))
    assert motion.position[0].tolist() == [100, 27, 40, 120]
    assert motion.velocity[0, :2].tolist() == [0, 10]
