"""Policies in the loop: nothing is lost uncounted, everybody meets the same requests."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from hypothesis import given as holds_for
from hypothesis import settings
from hypothesis import strategies as some

from flowedge.dispatch import POLICIES, DispatchPolicy, Request, Workers
from flowedge.errors import ConfigError
from flowedge.simulate.dispatching import Dispatching
from flowedge.simulate.results import as_csv
from flowedge.simulate.scenario import Failure, Range, RequestKind, Scenario, SimulatedWorker
from tests.simulate.small import (
    VARIANT,
    cluster,
    fixed,
    found,
    latencies,
    poisson,
    run,
    scenario,
    streams,
    traced,
)

SMALL = replace(VARIANT, seconds=0.03, batch_seconds=0.03, deviation=0.01, queue=5, slots=2)


def busy(**changes: object) -> Scenario:
    """Single queries and streams over three nodes, near saturation."""
    fields: dict[str, object] = {
        "cluster": cluster(0.001, 0.005, 0.02, deviation=0.001, bandwidth=1e8),
        "duration": 15.0,
        "kinds": (RequestKind("people", Range(0.08, 0.3), size=fixed(20_000), rate=Range(4.0, 12.0)),),
        "workers": tuple(SimulatedWorker(f"w{number}", f"n{number}", SMALL) for number in range(3)),
        "sources": (poisson(60.0), streams(1.5, 6.0)),
        "feasible": None,
    }
    return scenario(poisson(1.0), **(fields | changes))


@pytest.mark.parametrize("policy", POLICIES)
def test_the_same_seed_gives_the_same_figures(policy: str) -> None:
    given = busy(failures=(Failure("n1", 4.0, 9.0),))
    first = as_csv([run(given, policy)])
    assert first == as_csv([run(given, policy)])
    assert first != as_csv([run(replace(given, seed=1), policy)])


def test_every_policy_meets_the_same_requests() -> None:
    runs = [run(busy(), policy) for policy in ("closest", "farthest", "power-of-two")]
    born = [np.sort(each.born) for each in runs]
    for other in born[1:]:
        np.testing.assert_array_equal(born[0], other)
    assert len({each.share("success") for each in runs}) > 1


failures = some.lists(
    some.builds(
        lambda target, start, long: Failure(target, start, start + long),
        some.sampled_from(["n0", "n1", "n2", ("here", "n0"), ("here", "n2")]),
        some.floats(0.0, 14.0),
        some.floats(0.1, 10.0),
    ),
    max_size=4,
)


@settings(max_examples=25, deadline=None)
@holds_for(
    broken=failures,
    detection=some.sampled_from([0.0, 0.7]),
    policy=some.sampled_from(["closest", "random-proportional-load", "dual-price"]),
    seed=some.integers(0, 5),
)
def test_every_request_is_counted_once_and_nothing_stays_behind(
    broken: list[Failure], detection: float, policy: str, seed: int
) -> None:
    given = busy(failures=tuple(broken), detection=detection, seed=seed)
    simulation = Dispatching(given, policy)
    simulation.advance()
    asked = sum(len(simulation.arrivals.chunk(number).times) for number in range(2))
    results = simulation.results()
    assert results.total == asked == sum(results.counts().values())
    assert not simulation.core.heap
    workers = simulation.table
    assert not workers.waiting.any()
    assert not workers.in_flight.any()
    assert all(not station.queue and not station.taken for station in simulation.core.stations)
    np.testing.assert_array_equal(workers.streams, [len(streams) for streams in simulation.bound])


def test_the_load_of_streams_is_what_they_ask_for() -> None:
    simulation = Dispatching(busy(sources=(streams(2.0, 5.0),)), "load-balancing")
    simulation.advance(10.0)
    bound = [sum(client.request.rate for client in streams) for streams in simulation.bound]
    assert sum(bound) > 0
    np.testing.assert_allclose(simulation.table.load, bound, atol=1e-9)


def test_the_load_of_single_queries_is_their_measured_rate() -> None:
    workers = (SimulatedWorker("w", "n0", replace(VARIANT, slots=99)),)
    simulation = Dispatching(scenario(poisson(100.0), workers=workers), "closest")
    loads = []
    for second in range(3, 11):
        simulation.advance(float(second))
        loads.append(simulation.table.load[0])
    assert np.mean(loads) == pytest.approx(100, rel=0.1)


def test_steps_and_copies_make_no_difference() -> None:
    given = busy(failures=(Failure("n0", 3.0, 6.0),))
    whole = run(given, "aset")
    simulation = Dispatching(given, "aset")
    simulation.advance(2.5)
    simulation.advance(7.0)
    branch = copy.deepcopy(simulation)
    branch.advance()
    simulation.advance(10.0)
    simulation.advance()
    assert as_csv([whole]) == as_csv([simulation.results()]) == as_csv([branch.results()])


def test_a_failed_node_loses_what_it_holds_and_streams_go_elsewhere() -> None:
    workers = tuple(SimulatedWorker(name, name, VARIANT) for name in ("n0", "n1"))
    given = scenario(
        traced(1.95, 1.97, 2.5, 5.0), cluster=cluster(0.0, 0.01), workers=workers,
        failures=(Failure("n0", 2.0, 4.0),),
    )  # fmt: skip
    results = run(given, "closest")
    assert found(results) == {"success": 2, "dropped: node down": 2}
    assert latencies(results) == pytest.approx([0.1, 0.12])


def test_until_a_failure_is_known_requests_go_to_the_dead() -> None:
    workers = tuple(SimulatedWorker(name, name, VARIANT) for name in ("n0", "n1"))
    given = scenario(
        traced(2.5, 3.5),
        cluster=cluster(0.0, 0.01),
        workers=workers,
        failures=(Failure("n0", 2.0),),
        detection=1.0,
    )
    assert found(run(given, "closest")) == {"success": 1, "dropped: node down": 1}


def test_a_stream_that_lost_its_worker_asks_again() -> None:
    given = scenario(
        streams(0.3, 1e6),
        kinds=(RequestKind("people", fixed(1.0), rate=fixed(2.0)),),
        failures=(Failure("n0", 5.0, 7.0),),
    )
    results = run(given)
    late = results.outcome[results.born > 7.0]
    assert len(late) > 5
    assert (late == 0).all()
    assert results.counts()["rejected"] > 0


def test_a_broken_link_is_gone_around() -> None:
    from flowedge.planner.model.cluster import Cluster, Link

    triangle = cluster(0.01, 0.01)
    links = (*triangle.links, Link("n0", "n1", 1e12, 0.005))
    given = scenario(
        traced(1.0, 3.0), cluster=Cluster(triangle.tiers, triangle.nodes, links),
        failures=(Failure(("n0", "here"), 2.0),),
    )  # fmt: skip
    assert latencies(run(given)) == pytest.approx([0.12, 0.13])


def test_an_answer_does_not_cross_a_broken_link() -> None:
    given = scenario(traced(1.0), failures=(Failure(("here", "n0"), 1.05, 2.0),))
    assert found(run(given)) == {"dropped: link down": 1}


@dataclass
class Recorder(DispatchPolicy):
    """Notes what it is told."""

    heard: list[tuple[str, float]] = field(default_factory=list)

    @property
    def period(self) -> float:
        return 2.5

    def choose(self, request: Request, workers: Workers, rng: np.random.Generator) -> int | None:
        return 0 if request.arrival < 3 else None

    def answered(self, request: Request, workers: Workers, worker: int, seconds: float, ahead: float) -> None:
        self.heard.append(("answered", round(seconds, 6)))

    def ended(self, request: Request, worker: int) -> None:
        self.heard.append(("ended", worker))

    def window(self, workers: Workers, rng: np.random.Generator) -> None:
        self.heard.append(("window", 0))


def test_a_policy_hears_of_answers_windows_and_ends() -> None:
    from flowedge.simulate.scenario import TraceRow

    rows = (
        TraceRow(1.0, "people"),
        TraceRow(1.0, "people"),
        TraceRow(2.0, "people", rate=1.0, duration=1.5),
        TraceRow(4.0, "people"),
    )
    recorder = Recorder()
    simulation = Dispatching(scenario(traced(rows=rows)), recorder)
    simulation.advance()
    assert recorder.heard == [
        ("answered", 0.1), ("answered", 0.2), ("answered", 0.1), ("window", 0), ("answered", 0.1), ("ended", 0),
        ("window", 0), ("window", 0),
    ]  # fmt: skip
    assert found(simulation.results()) == {"success": 4, "rejected": 1}


def test_the_warm_up_does_not_count() -> None:
    assert run(scenario(traced(1.0, 3.0, 5.0), warmup=2.0)).total == 2


def test_an_unknown_policy_is_refused() -> None:
    with pytest.raises(ConfigError, match="nearest"):
        Dispatching(scenario(traced(1.0)), "nearest")
