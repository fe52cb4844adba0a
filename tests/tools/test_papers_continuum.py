from __future__ import annotations

import pytest

from flowedge.profiling.models import AccuracyModel
from tools.papers.continuum_model import EDGES, FPS, JPEG, RAW, READINGS, SECONDS, Reading, outcome

ACCURACY = AccuracyModel(0.674, 0.405, 188.7)
RATES = "rates of exp. 3, 4"


def test_single_source_takes_as_long_as_its_rate_says():
    reading = Reading(JPEG, False, RATES)
    assert outcome(reading, [0.0], ACCURACY).makespan == pytest.approx(3600, rel=1e-3)
    assert outcome(reading, [1.0], ACCURACY).makespan == pytest.approx(1.3 * 3600, rel=1e-3)
    slow = outcome(Reading(RAW, False, RATES), [0.0], ACCURACY)
    assert slow.makespan == pytest.approx(30_000 * 24 * 512**2 / 30e6, rel=1e-3)  # the uplink is the limit


@pytest.mark.parametrize("reading", READINGS[:4], ids=lambda each: each.name)
def test_the_fluid_is_what_single_frames_do(reading):
    """12 sources, the last two of which share an edge node with others, three of them reduced."""
    reduced = [1.0, 0.0, 0.0, 1.0] + [0.0] * 7 + [1.0]
    step = 20  # every 20th frame, 20 times as large and slow
    links: dict[int, float] = {}
    servers = {512: 0.0, 416: 0.0}
    arrivals = []
    for frame in range(0, int(FPS * SECONDS), step):
        for source, low in enumerate(reduced):
            size = 416 if low else 512
            link = 0 if reading.shared else source % EDGES
            ready = max((frame + step) / FPS, links.get(link, 0.0))
            links[link] = ready + step * reading.frame(size) / 30e6
            arrivals.append((links[link], source, size))
    done = {}
    for ready, source, size in sorted(arrivals):
        servers[size] = max(ready, servers[size]) + step / reading.rate(size)
        done[source] = servers[size]
    found = outcome(reading, reduced, ACCURACY)
    assert found.makespan == pytest.approx(sum(done.values()) / len(done), rel=0.01)
    assert found.last == pytest.approx(max(done.values()), rel=0.01)


def test_rotation_gives_all_sources_the_same_accuracy():
    reading = Reading(JPEG, False, RATES)
    fixed = outcome(reading, [1.0] + [0.0] * 18, ACCURACY)
    turned = outcome(reading, [1 / 19] * 19, ACCURACY)
    assert turned.accuracy == pytest.approx(fixed.accuracy)
    assert fixed.worst < turned.worst == pytest.approx(turned.accuracy)
    assert turned.last == pytest.approx(fixed.last, rel=0.01)
