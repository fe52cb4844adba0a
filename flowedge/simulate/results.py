"""Results of a simulation: shares of outcomes, latencies and utilisations, as plain data."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flowedge.simulate.core import LATE, OUTCOMES, Core
from flowedge.simulate.scenario import Floats, Scenario

QUANTILES = (0.5, 0.95, 0.99)


@dataclass(frozen=True, eq=False)
class Results:
    """One run. The columns have one entry for each request that counts (after the warm-up), in no order.

    `outcome` is a position in `OUTCOMES`; `latency` (s, from capture to answer) is nan for what was lost.
    Utilisations are shares (0..1) of what workers, nodes and links could have done in the scenario's duration.
    `seconds_per_decision` is processor time, and the only figure that another run of the same seed changes.
    """

    scenario: str
    choice: str
    seed: int
    applications: tuple[str, ...]
    duration: float
    born: Floats
    application: NDArray[np.uint16]
    outcome: NDArray[np.uint8]
    latency: Floats
    workers: Mapping[str, float]
    nodes: Mapping[str, float]
    links: Mapping[str, float]
    decisions: int = 0
    seconds_per_decision: float = 0.0
    notes: tuple[str, ...] = ()

    @property
    def total(self) -> int:
        """Requests."""
        return len(self.outcome)

    def counts(self, application: str | None = None) -> dict[str, int]:
        """Requests by outcome, of one application or all; their sum is what was asked."""
        by_outcome = np.bincount(self.outcome[self._of(application)], minlength=len(OUTCOMES))
        return dict(zip(OUTCOMES, by_outcome.tolist(), strict=True))

    def share(self, outcome: str, application: str | None = None) -> float:
        """The share of requests with an outcome; nan where there was no request."""
        counts = self.counts(application)
        total = sum(counts.values())
        return counts[outcome] / total if total else float("nan")

    def quantiles(self, application: str | None = None) -> tuple[float, ...]:
        """Latency in seconds at `QUANTILES` of what was answered, late or not; nan where nothing was."""
        latency = self.latency[self._of(application) & (self.outcome <= LATE)]
        return tuple(np.quantile(latency, QUANTILES).tolist()) if len(latency) else (float("nan"),) * 3

    def series(self, window: float, outcome: str = "success") -> Floats:
        """The share of an outcome in each window of time of that many seconds; nan where nothing came."""
        number = np.clip(self.born / window, 0, None).astype(int)
        count = int(np.ceil(self.duration / window))
        asked = np.bincount(number, minlength=count)
        matching = np.bincount(number[self.outcome == OUTCOMES.index(outcome)], minlength=count)
        shares: Floats = np.divide(matching, asked, out=np.full(len(asked), np.nan), where=asked > 0)
        return shares

    def worst(self) -> tuple[str, float]:
        """The application with the least share of successes, and that share."""
        shares = {name: self.share("success", name) for name in self.applications}
        asked = {name: share for name, share in shares.items() if share == share}
        return min(asked.items(), key=lambda item: item[1], default=("", float("nan")))

    def _of(self, application: str | None) -> NDArray[np.bool_]:
        if application is None:
            return np.ones(self.total, bool)
        return np.asarray(self.application == self.applications.index(application))


def collect(
    scenario: Scenario,
    choice: str,
    core: Core,
    decisions: int = 0,
    deciding: float = 0.0,
    notes: tuple[str, ...] = (),
) -> Results:
    """The results of a core as it stands."""
    born, application = np.array(core.tally.born), np.array(core.tally.application)
    outcome, latency = np.array(core.tally.outcome), np.array(core.tally.latency)
    if scenario.warmup:
        counts = born >= scenario.warmup
        born, application, outcome, latency = (
            column[counts] for column in (born, application, outcome, latency)
        )
    workers = {station.name: station.busy / (station.slots * scenario.duration) for station in core.stations}
    nodes: dict[str, float] = {}
    for station in core.stations:
        name = scenario.cluster.nodes[station.node].name
        nodes[name] = nodes.get(name, 0.0) + station.busy * station.share / scenario.duration
    links = {
        f"{arc.start} - {arc.end}": direction.bytes * direction.second_per_byte / scenario.duration
        for arc, direction in zip(scenario.cluster.arcs, core.directions, strict=True)
        if direction.bytes
    }
    return Results(
        scenario.name,
        choice,
        scenario.seed,
        tuple(scenario.applications),
        scenario.duration,
        born,
        application,
        outcome,
        latency,
        workers,
        nodes,
        links,
        decisions,
        deciding / decisions if decisions else 0.0,
        notes,
    )


COLUMNS = (
    "scenario",
    "choice",
    "seed",
    "kind",
    "name",
    "requests",
    *OUTCOMES,
    "p50 s",
    "p95 s",
    "p99 s",
    "utilisation",
)


def as_csv(runs: Iterable[Results]) -> str:
    """Tables of some runs in one: a row for each application ("all" is their sum), worker, node and link.

    Every figure is the same whenever the seed is. Fields that a row does not have are empty.
    """
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    for run in runs:
        head = run.scenario, run.choice, run.seed
        for name in (None, *run.applications):
            counts = run.counts(name)
            quantiles = [f"{value:.6f}" if value == value else "" for value in run.quantiles(name)]
            row = sum(counts.values()), *counts.values(), *quantiles
            writer.writerow((*head, "application", name or "all", *row, ""))
        for kind, used in (("worker", run.workers), ("node", run.nodes), ("link", run.links)):
            for name, share in used.items():
                writer.writerow((*head, kind, name, *[""] * (len(OUTCOMES) + 4), f"{share:.6f}"))
    return file.getvalue()


def lost(run: Results) -> dict[str, int]:
    """Requests that were dropped, by cause, most frequent first."""
    counts = {name.removeprefix("dropped: "): count for name, count in run.counts().items() if ": " in name}
    return {cause: count for cause, count in sorted(counts.items(), key=lambda item: -item[1]) if count}
