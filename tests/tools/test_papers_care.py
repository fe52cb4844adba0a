"""CARE's evaluation: where its figures are from, and that the greedy is never better than the search of all."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest

from flowedge.errors import UserError
from flowedge.graph.loading import load
from flowedge.planner.model.profiles import Profiles, Service, setting
from flowedge.planner.planning import solved
from tools.papers import care, care_live, care_live_runs, care_profile
from tools.papers.care_live_runs import Profile, Quality, parts_of
from tools.papers.care_profile import GRAPH, TILES, Instance, on_cpu, on_gpu

QUALITY = {1: 0.72, 2: 0.79, 4: 0.85, 6: 0.88}


@pytest.fixture(scope="module")
def known() -> Profiles:
    """40 ms on one core and 25 ms on two, but 44 and 27 ms for the second tile; 1 ms for tracking."""
    services = []
    for tiles, cores in product(TILES, (1, 2)):
        for number in range(1, tiles + 1):
            at = setting(part=f"{number}/{tiles}")
            seconds = {1: 0.04, 2: 0.025}[cores] * (1.1 if number == 2 else 1.0)
            services += [
                Service("Detect", "cpu", cores, seconds, setting=at),
                Service("TrackTile", "cpu", cores, 0.001, setting=at),
            ]
    return Profiles(tuple(services))


def instance(found: list[Instance], tiles: int, cores: int, gpu: float = 0.0) -> Instance:
    return next(each for each in found if (each.tiles, each.cores, each.gpu) == (tiles, cores, gpu))


def test_an_instance_takes_as_long_as_the_slowest_of_its_tiles(known: Profiles) -> None:
    found = list(on_cpu(known))
    assert instance(found, 1, 1).seconds == pytest.approx(0.041)
    assert instance(found, 4, 2).seconds == pytest.approx(0.0285)
    assert {each.source for each in found if each.cores <= 2} == {"measured"}


def test_more_cores_than_there_are_follow_the_fitted_model_and_say_so(known: Profiles) -> None:
    # t = 11 + 30 / c ms goes through both.
    four = instance(list(on_cpu(known)), 1, 4)
    assert four.seconds == pytest.approx(0.0185)
    assert four.source == "model (Amdahl)"


def test_a_slower_cpu_is_a_model(known: Profiles) -> None:
    found = instance(list(on_cpu(known, slower=10)), 1, 1)
    assert (found.seconds, found.source) == (pytest.approx(0.41), "model (measured x 10)")


def test_a_gpu_takes_what_the_table_says_and_tracking(known: Profiles) -> None:
    found = list(on_gpu(known, 0.03))
    assert instance(found, 6, 1, 1.0).seconds == pytest.approx(0.031)
    assert instance(found, 6, 1, 0.5).seconds == pytest.approx(0.061)
    assert instance(found, 6, 1, 1.0).source == "table (Orin NX)"


def test_the_greedy_is_never_better_than_the_search_of_all(
    known: Profiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(care, "LATENCIES", (0.5, 0.035))
    monkeypatch.setattr(care, "QUALITIES", (0.72, 0.85))
    monkeypatch.setattr(care, "GPUS", (0, 6))
    instances = [*on_cpu(known), *on_gpu(known, 0.03)]
    by = {
        (row.gpus, row.latency, row.quality, row.strategy): row for row in care.chosen(instances, QUALITY, 8.4)
    }
    for *goal, name in by:
        greedy, every = by[*goal, "care"], by[*goal, "care-exhaustive all"]
        assert (greedy.joules is None) == (every.joules is None)
        if every.joules is not None:
            assert greedy.joules is not None
            assert every.joules <= greedy.joules + 1e-9
            assert by[*goal, "care-exhaustive"].joules == pytest.approx(every.joules)
            assert every.tried >= greedy.tried
            assert (by[*goal, name].seconds or 0.0) <= goal[1]
    assert by[0, 0.5, 0.72, "care"].chosen == "x=1 c=1 g=0"
    assert by[0, 0.035, 0.72, "care"].chosen == "x=1 c=2 g=0"
    assert by[0, 0.5, 0.85, "care"].joules == pytest.approx(4 * 3.75 * 0.045)


def test_table_1_and_the_gpus_table_are_read(tmp_path: Path) -> None:
    table = tmp_path / "care_table1.csv"
    table.write_text("obj,res,bench,x2,x4,x6\n1,480p,99,99,99,99\n150,1080p,72,79,85,88\n")
    assert care_profile.table1(table) == QUALITY
    gpu = tmp_path / "orin.csv"
    gpu.write_text("# from somewhere\nmodel,input,p95_ms,power_w\nyolo11n,832,29.7,9.4\nyolo11n,640,29.1,8.4\n")
    assert care_profile.orin(gpu) == (0.0291, 8.4)


@pytest.mark.parametrize(("part", "said"), [("3/2", "part=3/2"), ("two", "part=two"), ("0/2", "part=0/2")])
def test_a_tile_that_is_none_is_refused(part: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        load(str(GRAPH), {"part": part})


def test_the_graph_of_an_instance_shows_its_tile() -> None:
    graph, _ = load(str(GRAPH), {"part": "2/4"})
    graph.check()
    assert [node.name for node in graph.nodes][-4:] == ["Tile", "Detect", "TrackTile", "Null"]


LIVE = {tiles: Profile(parts_of(tiles), 0.05, 0.04 + 0.01 * tiles) for tiles in TILES}


def test_a_live_instance_takes_longer_with_less_of_a_core() -> None:
    assert care_live.expected_latency(LIVE, 4, 0.1) == pytest.approx(0.58)
    assert care_live.expected_latency(LIVE, 4, 0.5) == pytest.approx(0.18)


@pytest.mark.parametrize("strategy", care_live.STRATEGIES)
def test_live_choices_hold_the_goal_with_the_fewest_cores(
    strategy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(care_live, "cores_here", lambda: 2)
    qualities = {tiles: Quality(QUALITY[tiles], 0.0, 0.0, 0.0) for tiles in TILES}
    planned = solved(care_live.composite(LIVE, qualities, least=0.8), strategy)
    shares = [each.service.cores for each in planned.plan.deployments if each.operator.startswith("part")]
    tiles = care_live_runs.chosen_tiles(planned.plan.routes[0].setting)
    assert (tiles, [cores for cores in shares if cores]) == (4, [pytest.approx(0.15)] * 5)
    assert planned.prediction.latencies[0].total == pytest.approx(
        care_live.expected_latency(LIVE, 4, 0.15), rel=0.01
    )
