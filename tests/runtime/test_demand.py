"""How many cores a run uses, and would use if it had them."""

from __future__ import annotations

import time

import pytest

from flowedge.monitor.histogram import Histogram
from flowedge.runtime.demand import LEAST_SERVED, DemandMeter, FreeCores, served
from flowedge.runtime.measuring import CameraRate, Window
from flowedge.runtime.run import Run
from tests.runtime.fake_steps import Collect, Feed, Graph


def window(*cameras: tuple[float, float]) -> Window:
    rates = {str(number): CameraRate(made, made - lost, lost) for number, (made, lost) in enumerate(cameras)}
    return Window(1.0, {}, {}, rates, Histogram(), 0.0)


def test_served_is_the_share_of_all_frames_that_were_not_lost() -> None:
    assert served(window()) == 1.0
    assert served(window((10.0, 0.0))) == 1.0
    assert served(window((10.0, 10.0), (30.0, 0.0))) == 0.75
    assert served(window((10.0, 12.0))) == LEAST_SERVED  # of frames that came before


@pytest.mark.parametrize("live", [True, False])
def test_what_a_process_uses_is_what_its_run_uses(live: bool) -> None:
    now, feed, graph = [0.0], Feed(), Graph("busy")
    graph.source(feed.source("gate", live=live)) >> Collect()
    with Run(graph) as run:
        meter = DemandMeter(run, lambda: now[0])
        begun = time.process_time()
        while time.process_time() - begun < 0.2:
            pass
        now[0] = 2.0
        demand = meter.look()
        feed.end("gate")
        run.wait()
    assert demand.used >= 0.08  # 0.2 s in 2 s, told in hundredths
    assert demand.wanted >= demand.used
    assert demand.live is live


def test_what_others_use_is_not_free() -> None:
    now = [0.0]
    cores = FreeCores(lambda: now[0])
    begun = time.process_time()
    while time.process_time() - begun < 0.2:
        pass
    now[0] = 0.2
    all_cores = cores.look(1e9)  # nobody else used any
    assert all_cores == int(all_cores) >= 1
    begun = time.process_time()
    while time.process_time() - begun < 0.2:
        pass
    now[0] = 0.4
    assert cores.look(0.0) < all_cores
