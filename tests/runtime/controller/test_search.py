"""What a run does about its goal before anything is known of its settings."""

from __future__ import annotations

from flowedge.planner.model.profiles import Setting
from flowedge.runtime.controller.adaptation import Situation
from flowedge.runtime.controller.search import Search

SETTINGS: list[Setting] = [(("tiles", tiles),) for tiles in (4, 1, 6)]


def went(latencies: dict[int, float], seconds: int = 40) -> list[int]:
    """The tiles that were had one after the other, by the latency (s) of each, with a goal of 0.2 s."""
    search, setting, had = Search(SETTINGS, 0.2), SETTINGS[0], [4]
    for now in range(seconds):
        latency = latencies[dict(setting)["tiles"]]  # type: ignore[index]
        wanted = search.next(float(now), Situation(setting, {}, {"door": [5.0]}, latency))
        if wanted is not None:
            setting = wanted
            had.append(dict(setting)["tiles"])  # type: ignore[arg-type]
            search.changed(float(now))
    return had


def test_it_stops_at_the_first_setting_that_keeps_the_goal():
    assert went({4: 0.9, 1: 0.1, 6: 2.0}) == [4, 1]


def test_where_none_does_it_stays_at_the_fastest():
    assert went({4: 0.9, 1: 0.5, 6: 2.0}) == [4, 1, 6, 1]


def test_a_goal_that_is_kept_changes_nothing():
    assert went({4: 0.1, 1: 0.05, 6: 2.0}) == [4]
