"""What becomes of measurements: services, outputs, accuracies and fits."""

from __future__ import annotations

from dataclasses import replace

import pytest

from flowedge.planner.files.inputs import profiles, profiles_as_data
from flowedge.planner.model.profiles import Accuracy, setting
from flowedge.profiling.fitting import Measurement, StepBytes, StepTime, fits, profiles_of

SIZES = (320, 416, 640)


def measurement(size: int, cores: int, seconds: float = 0.04) -> Measurement:
    pixels = float(size * size)
    times = (
        StepTime("Detect", seconds * pixels / 1e5 / cores, 0.001, 28, pixels),
        StepTime("Track", 0.0005, 0.0001, 28),
        StepTime("Null", 1e-6, 0.0, 28),
    )
    sent = (
        StepBytes("video", 3e6),
        StepBytes("video", 1.2e5, 80, 921600.0),
        StepBytes("video", 6e4, 50, 921600.0),
        StepBytes("video", 4e4, 80, 230400.0, scaled=True),
    )
    accuracy = Accuracy(0.7 - 0.4 * 2.0 ** (-size / 150), source="measured: F1")
    return Measurement(setting(size=size), cores, times, sent, accuracy)


GRID = tuple(measurement(size, cores) for cores in (1, 2) for size in SIZES)


def test_every_measured_point_is_a_service() -> None:
    known = profiles_of(GRID, "pi")
    found = {(each.setting, each.cores): each for each in known.services if each.operator == "Detect"}
    assert set(found) == {(setting(size=size), cores) for size in SIZES for cores in (1, 2)}
    one = found[setting(size=640), 2]
    assert (one.kind, one.seconds, one.deviation) == ("pi", pytest.approx(0.08192), 0.001)
    assert one.source == "measured: 28 frames"


def test_what_takes_no_time_is_free() -> None:
    assert profiles_of(GRID, "pi").free("Null")


def test_parts_of_a_core_are_models_and_for_quick_operators_only() -> None:
    parts = [each for each in profiles_of(GRID, "pi", shares=(0.1,)).services if each.cores < 1]
    rates = {(each.operator, each.seconds, round(each.rate)) for each in parts}
    assert rates == {("Track", 0.0005, 200), ("Null", 1e-6, 100_000)}
    assert all(each.source == "model: 0.1 of a core, with what others leave idle" for each in parts)
    assert len(parts) == 2 * len(SIZES)


def test_bytes_are_those_of_the_jpeg_that_is_sent() -> None:
    known = profiles_of(GRID, "pi")
    assert known.bytes_of("video", setting(size=640)) == 1.2e5
    kept = {dict(each.setting).get("jpeg_quality") for each in known.outputs}
    assert kept == {None, 50, 80}


def test_accuracy_is_known_for_each_setting() -> None:
    known = profiles_of(GRID, "pi")
    assert len(known.accuracies) == len(SIZES)
    assert known.accuracy(setting(size=320)) == pytest.approx(0.7 - 0.4 * 2.0 ** (-320 / 150))


def test_they_survive_a_file() -> None:
    known = profiles_of(GRID, "pi", shares=(0.1,))
    assert profiles(profiles_as_data(known)) == known


def test_fits_of_service_times_bytes_and_accuracy() -> None:
    found = {fit.what: fit for fit in fits(GRID)}
    assert set(found) == {"Detect: service time", "Track: service time", "accuracy"}
    assert found["Detect: service time"].points == 6
    assert all(fit.errors.share < 1e-3 for fit in found.values())
    assert found["accuracy"].model.startswith("0.7 - 0.4 exp(-size / 216")


def test_two_resolutions_are_too_few_for_the_accuracy() -> None:
    assert "accuracy" not in {fit.what for fit in fits(GRID[:2])}


def test_points_that_were_left_out_are_missed_by_more() -> None:
    noise = (1.0, 1.1, 0.9, 1.05, 0.95, 1.0)
    noisy = [
        measurement(size, cores, 0.04 * factor)
        for factor, (cores, size) in zip(noise, [(c, s) for c in (1, 2) for s in SIZES], strict=True)
    ]
    detect = next(fit for fit in fits(noisy) if fit.what == "Detect: service time")
    assert detect.left_out is not None
    assert detect.left_out.rmse > detect.errors.rmse > 0


def test_nothing_can_be_left_out_of_a_model_with_as_many_terms_as_points() -> None:
    accuracy = next(fit for fit in fits(GRID) if fit.what == "accuracy")
    assert (accuracy.points, accuracy.terms, accuracy.left_out) == (3, 3, None)


def test_what_settings_have_in_common_counts_once() -> None:
    track = next(fit for fit in fits(GRID) if fit.what == "Track: service time")
    assert track.points == 2  # numbers of cores


def test_an_accuracy_that_falls_is_written_as_a_sum() -> None:
    falling = [replace(each, accuracy=Accuracy(1 - each.accuracy.value)) for each in GRID if each.accuracy]
    accuracy = next(fit for fit in fits(falling) if fit.what == "accuracy")
    assert accuracy.model.startswith("0.3 + 0.4 exp(-size / 216")
