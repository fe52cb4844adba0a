"""ASET's evaluation, cell by cell: one topology, one course of rates, one seed, every policy."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from flowedge.dispatch import FEASIBILITIES, POLICIES, STATIC, DispatchPolicy, make, nominal
from flowedge.dispatch.aset import ACTIONS, Switching
from flowedge.simulate import reading
from flowedge.simulate.arrivals import Arrivals, draw
from flowedge.simulate.core import SUCCESS
from flowedge.simulate.dispatching import Dispatching
from flowedge.simulate.results import Results
from flowedge.simulate.scenario import Rate, Scenario
from tools.papers.aset_bound import bound

FOLDER = Path(__file__).parents[1] / "scenarios"
TOPOLOGIES = "dc-cloud", "co-dc-cloud", "full-edge"
RATES = {"40": (40.0,), "60": (60.0,), "100": (100.0,), "dynamic": (40.0, 100.0, 60.0)}
"""Clients a minute, each for an equal share of the time that counts."""
WARMUP = 60.0
"""Seconds that do not count, in which streams come fast enough that there are then as many as always."""
WINDOW = 10.0
"""Seconds that the oracle looks ahead, and for which it chooses; as ASET's own."""

OWN = "own"
FILTERS = OWN, "timely"
"""Each policy's own filter; the same strict one for all."""
ORACLE, BEST, BOUND = "oracle switch", "best static in hindsight", "hindsight bound"
CLAIRVOYANT = BEST, ORACLE, BOUND


@dataclass(frozen=True)
class Cell:
    """What is simulated at once."""

    topology: str
    rate: str
    seed: int
    seconds: float


@dataclass(frozen=True)
class PolicyRun:
    """Shares of what was asked: `success` + `failed` (late or lost) + `rejected` = 1; nan where not defined.

    `decision` is the processor time of one choice in seconds; it takes no part in comparisons.
    """

    topology: str
    rate: str
    seed: int
    filter: str
    policy: str
    success: float
    failed: float
    rejected: float
    application: str
    """The one with the least share of successes, which is `worst`."""
    worst: float
    decision: float = field(compare=False)


def runs(cell: Cell) -> list[PolicyRun]:
    """Every policy on one file's scenario; all meet the same requests with the same luck."""
    return list(compared(cell, reading.load(FOLDER / f"aset-{cell.topology}.toml")))


def compared(cell: Cell, scenario: Scenario) -> Iterator[PolicyRun]:
    """Every policy under every filter, then those that see the future."""
    scenario = loaded(scenario, RATES[cell.rate], cell.seconds, cell.seed)
    arrivals = draw(scenario)
    own: list[PolicyRun] = []
    for kind in FILTERS:
        given = replace(scenario, feasible=None if kind == OWN else kind)
        results = []
        for number, name in enumerate(POLICIES):
            if kind != OWN and make(name).feasible is FEASIBILITIES[kind]:
                results.append(replace(own[number], filter=kind))
            else:
                results.append(_run(cell, kind, name, _played(given, name, arrivals)))
        own = own or results
        yield from results
        best = max((run for run in results if run.policy in STATIC), key=lambda run: run.success)
        yield replace(best, policy=BEST, decision=math.nan)
    yield replace(_run(cell, OWN, ORACLE, oracle(scenario, arrivals)), decision=math.nan)
    limit = bound(scenario, arrivals)
    nan = math.nan
    yield PolicyRun(cell.topology, cell.rate, cell.seed, OWN, BOUND, limit, nan, nan, "", nan, nan)


def loaded(scenario: Scenario, clients: tuple[float, ...], seconds: float, seed: int) -> Scenario:
    """The scenario with its streams' rate in clients a minute, for so many seconds after the warm-up.

    Streams last for an exponential time of mean L, so that beginning empty with 1 / (1 - exp(-WARMUP / L))
    times the rate there are as many at the end of the warm-up, and as long to go, as in a steady state.
    """
    sources = []
    for source in scenario.sources:
        fill = -1 / math.expm1(-WARMUP / source.lifetime)
        later = [(WARMUP + place * seconds / len(clients), number / 60) for place, number in enumerate(clients)]
        sources.append(replace(source, rate=Rate(((0.0, fill * clients[0] / 60), *later))))
    return replace(
        scenario,
        sources=tuple(sources),
        seed=seed,
        duration=WARMUP + seconds,
        warmup=WARMUP,
        window=WINDOW,
        feasible=None,
    )


def oracle(scenario: Scenario, arrivals: Arrivals) -> Results:
    """In every window, the static policy that turns out to have the most successes until the window's end.

    It knows one window of the future and no more: what it binds lasts longer.
    """
    simulation = Dispatching(scenario, Switching(nominal, interval=math.inf), arrivals)
    shared = scenario, scenario.cluster, simulation.network.cluster, arrivals, *arrivals.requests
    for number in range(math.ceil(scenario.duration / WINDOW)):
        best, most = simulation, -1
        for action in range(len(ACTIONS)):
            # What never changes is not copied.
            branch = copy.deepcopy(simulation, {id(constant): constant for constant in shared})
            for dispatcher in branch.dispatchers.values():
                _switch(dispatcher.policy, action)
            branch.advance(min((number + 1) * WINDOW, scenario.duration))
            successes = branch.core.tally.outcome.count(SUCCESS)
            if successes > most:
                best, most = branch, successes
        simulation = best
    simulation.advance()
    return simulation.results()


def _switch(policy: DispatchPolicy, action: int) -> None:
    assert isinstance(policy, Switching)
    policy.action = action


def _played(scenario: Scenario, policy: str, arrivals: Arrivals) -> Results:
    simulation = Dispatching(scenario, policy, arrivals)
    simulation.advance()
    return simulation.results()


def _run(cell: Cell, kind: str, name: str, results: Results) -> PolicyRun:
    success, rejected = results.share("success"), results.share("rejected")
    application, worst = results.worst()
    return PolicyRun(
        cell.topology,
        cell.rate,
        cell.seed,
        kind,
        name,
        success,
        max(0.0, 1 - success - rejected),
        rejected,
        application,
        worst,
        results.seconds_per_decision,
    )
