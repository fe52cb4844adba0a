"""What profiles say about settings."""

from __future__ import annotations

from flowedge.planner.model.profiles import Accuracy, OutputSize, Profiles, Service, holds, setting

SMALL = Service("Detect", "pi", cores=1, seconds=0.1, batch=2, setting=setting(size=416))
LARGE = Service("Detect", "pi", cores=2, seconds=0.2, setting=setting(size=640))
ANY = Service("Track", "pi", cores=1, seconds=0.01)
PROFILES = Profiles(
    (SMALL, LARGE, ANY),
    (
        OutputSize("video", 9e4, "jpeg"),
        OutputSize("video", 4e4, "h264"),
        OutputSize("Detect", 100.0, setting=setting(size=416)),
    ),
    (Accuracy(0.5), Accuracy(0.3, setting(size=416)), Accuracy(0.35, setting(size=416, tiles=4))),
)


def test_services_are_those_whose_setting_is_chosen() -> None:
    assert PROFILES.services_of("Detect", setting(size=416, tiles=4)) == (SMALL,)
    assert PROFILES.services_of("Detect", setting(size=960)) == ()
    assert PROFILES.services_of("Track", setting(size=960)) == (ANY,)
    assert SMALL.rate == 20.0


def test_an_operator_without_any_service_is_free_but_one_without_this_setting_is_not() -> None:
    assert PROFILES.free("Null")
    assert not PROFILES.free("Detect")


def test_bytes_are_those_of_the_smallest_codec_and_none_where_not_measured() -> None:
    assert PROFILES.bytes_of("video", setting(size=416)) == 4e4
    assert PROFILES.bytes_of("Detect", setting(size=416)) == 100.0
    assert PROFILES.bytes_of("Detect", setting(size=640)) == 0.0


def test_the_most_specific_accuracy_counts() -> None:
    assert PROFILES.accuracy(setting(size=416, tiles=4)) == 0.35
    assert PROFILES.accuracy(setting(size=416, tiles=1)) == 0.3
    assert PROFILES.accuracy(setting(size=640)) == 0.5
    assert Profiles().accuracy(setting(size=640)) is None


def test_a_setting_holds_where_all_it_says_is_chosen() -> None:
    assert setting(b=1, a=2) == setting(a=2, b=1)
    assert holds((), setting(size=416))
    assert not holds(setting(size=416), ())
