"""Queues, batches, links: against queueing theory, and by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from flowedge.simulate.scenario import RequestKind, SimulatedWorker
from tests.simulate.small import VARIANT, cluster, fixed, found, latencies, poisson, run, scenario, traced


def test_an_unloaded_query_takes_network_and_service() -> None:
    given = scenario(traced(1.0, access=fixed(0.01)), cluster=cluster(0.02))
    assert latencies(run(given)) == [2 * 0.01 + 2 * 0.02 + 0.1]


def test_the_wait_is_that_of_pollaczek_and_khinchine() -> None:
    variant = replace(VARIANT, seconds=0.04, batch_seconds=0.04, deviation=0.02)
    given = scenario(
        poisson(15.0), duration=4000.0, workers=(SimulatedWorker("w", "n0", variant),), warmup=50.0
    )
    results = run(replace(given, kinds=(RequestKind("people", fixed(100.0)),)))
    # W = lambda E[S^2] / (2 (1 - rho))
    wait = 15 * (0.04**2 + 0.02**2) / (2 * (1 - 0.6))
    assert results.latency.mean() - 0.04 == pytest.approx(wait, rel=0.05)
    assert results.workers["w"] == pytest.approx(0.6, rel=0.02)


def test_the_loss_of_several_slots_is_erlang_s() -> None:
    # Erlang's loss formula holds for any service: two slots and no queue lose a^2/2 / (1 + a + a^2/2); a = 1.
    variant = replace(VARIANT, slots=2, queue=0, deviation=0.1)
    results = run(scenario(poisson(10.0), duration=3000.0, workers=(SimulatedWorker("w", "n0", variant),)))
    assert results.share("dropped: queue full") == pytest.approx(0.2, rel=0.05)


@pytest.mark.parametrize(("full", "served"), [("newest", [0.1, 0.19]), ("oldest", [0.1, 0.18])])
def test_a_full_queue_drops_the_newest_or_the_oldest(full: str, served: list[float]) -> None:
    variant = replace(VARIANT, queue=1, full=full)
    results = run(scenario(traced(1.0, 1.01, 1.02), workers=(SimulatedWorker("w", "n0", variant),)))
    assert found(results) == {"success": 2, "dropped: queue full": 1}
    assert latencies(results) == pytest.approx(served)


def test_what_is_late_is_served_or_dropped() -> None:
    times = 1.0, 1.01, 1.02
    kinds = (RequestKind("people", fixed(0.15)),)
    given = scenario(traced(*times), kinds=kinds)
    assert found(run(given)) == {"success": 1, "late": 2}
    workers = (SimulatedWorker("w", "n0", replace(VARIANT, drop_expired=True)),)
    # The second has not expired when it begins, after 0.09 s; the third has, after 0.18 s.
    assert found(run(replace(given, workers=workers))) == {"success": 1, "late": 1, "dropped: expired": 1}


def test_what_waits_is_served_together() -> None:
    variant = replace(VARIANT, batch=3, batch_seconds=0.14)
    results = run(scenario(traced(1.0, 1.01, 1.02, 1.03, 1.04), workers=(SimulatedWorker("w", "n0", variant),)))
    # One alone until 1.1, three together until 1.24, the last one until 1.34.
    assert latencies(results) == pytest.approx([0.1, 0.21, 0.22, 0.23, 0.30])


def test_a_link_sends_one_after_the_other() -> None:
    given = scenario(
        traced(1.0, 1.0, 1.0),
        cluster=cluster(0.0, bandwidth=8e6),
        kinds=(RequestKind("people", fixed(1.0), size=fixed(50_000)),),
        workers=(SimulatedWorker("w", "n0", replace(VARIANT, slots=3)),),
    )
    results = run(given)
    assert latencies(results) == pytest.approx([0.15, 0.20, 0.25])
    assert results.links == pytest.approx({"here - n0": 0.015})
    # The third would wait behind 100 kB.
    assert found(run(replace(given, link_queue=60_000.0))) == {"success": 2, "dropped: link full": 1}


def test_more_work_takes_longer() -> None:
    given = scenario(traced(1.0), kinds=(RequestKind("people", fixed(1.0), work=fixed(2.5)),))
    assert latencies(run(given)) == [0.25]


def test_jitter_has_its_deviation_and_never_arrives_before_it_was_sent() -> None:
    given = scenario(
        poisson(50.0),
        duration=100.0,
        cluster=cluster(0.05, deviation=0.01),
        workers=(SimulatedWorker("w", "n0", replace(VARIANT, slots=99)),),
    )
    latency = run(given).latency
    assert latency.std() == pytest.approx(0.01 * 2**0.5, rel=0.05)
    wild = run(replace(given, cluster=cluster(0.001, deviation=0.05)))
    assert wild.latency.min() >= 0.1 - 1e-9
