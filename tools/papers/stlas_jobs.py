"""A small event-driven simulation of jobs under an admission policy, and traces of jobs."""

from __future__ import annotations

import csv
import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from flowedge.errors import ConfigError
from flowedge.planner.files.tables import rows
from flowedge.planner.model import units
from flowedge.runtime.controller.admission import (
    Demand,
    Job,
    LeastAttained,
    Policy,
    Worker,
    admissible,
    advanced,
    decide,
    reviewed,
    size,
    started,
    stopped,
    threshold_of,
)


@dataclass(frozen=True, slots=True)
class Spec:
    """A job of a trace: what its parts demand, when it comes, and the seconds that it runs if left alone."""

    name: str
    parts: tuple[Demand, ...]
    arrival: float
    seconds: float


@dataclass(frozen=True, slots=True)
class JobResult:
    """The result of a job: when it was done, its longest wait at a stretch, and how often it was preempted."""

    spec: Spec
    done: float
    longest_wait: float
    preemptions: int

    @property
    def completion(self) -> float:
        """Seconds from arrival to the end."""
        return self.done - self.spec.arrival


@dataclass
class _Account:
    job: Job
    spec: Spec
    share: float
    idle_since: float
    longest: float = 0.0
    preemptions: int = 0


@dataclass
class Simulation:
    """Runs jobs on workers under a policy; a preempted job pays `checkpoint` seconds when it runs again.

    With a `quantile`, the threshold of least attained service is that quantile of the services of the jobs that
    are done, from the fifth on; the policy knows nothing of a job's length before it is done.
    """

    workers: Sequence[Worker]
    policy: Policy
    checkpoint: float
    quantile: float | None = None
    now: float = 0.0
    live: dict[str, _Account] = field(default_factory=dict)
    outcomes: list[JobResult] = field(default_factory=list)
    services: list[float] = field(default_factory=list)

    def run(self, specs: Sequence[Spec], until: float = math.inf) -> list[JobResult]:
        """The results of the jobs that are done at second `until`, in the order of completion."""
        waiting = sorted(specs, key=lambda spec: spec.arrival)
        at = 0
        while at < len(waiting) or self.live:
            arrival = waiting[at].arrival if at < len(waiting) else math.inf
            step = min([arrival - self.now, *(self._next(account) for account in self.live.values())])
            if self.now + step > until or step == math.inf:
                break
            self._advance(max(0.0, step))
            while at < len(waiting) and waiting[at].arrival <= self.now + 1e-9:
                self._arrive(waiting[at])
                at += 1
            self._decide()
        return self.outcomes

    def _next(self, account: _Account) -> float:
        ends = account.job.owed + account.job.remaining if account.job.running else math.inf
        return min(ends, max(self.policy.due(account.job, account.share), 1e-6))

    def _advance(self, seconds: float) -> None:
        self.now += seconds
        for name, account in list(self.live.items()):
            account.job = advanced(account.job, seconds, account.share)
            if account.job.running and account.job.remaining <= 1e-9:
                self.outcomes.append(JobResult(account.spec, self.now, account.longest, account.preemptions))
                self.services.append(account.job.total)
                del self.live[name]
                self._learn()

    def _learn(self) -> None:
        if self.quantile is not None and len(self.services) >= 5 and isinstance(self.policy, LeastAttained):
            self.policy = replace(self.policy, threshold=threshold_of(self.services, self.quantile))

    def _arrive(self, spec: Spec) -> None:
        if not admissible(spec.parts, self.workers):
            raise ValueError(f"{spec.name} can never run: its parts do not fit on the workers")
        job = Job(spec.name, spec.parts, spec.arrival, remaining=spec.seconds)
        self.live[spec.name] = _Account(job, spec, size(spec.parts, self.workers), self.now)

    def _decide(self) -> None:
        reviewed_jobs = reviewed(
            self.policy, {name: account.job for name, account in self.live.items()}, self.now
        )
        placements = decide(self.policy, list(reviewed_jobs.values()), self.workers)
        for name, account in self.live.items():
            job, placement = reviewed_jobs[name], placements.get(name, ())
            if job.running and placement != job.placement:
                job = stopped(job, self.checkpoint)
                account.idle_since = self.now
                account.preemptions += 1
            if placement and not job.running:
                account.longest = max(account.longest, self.now - account.idle_since)
                job = started(job, placement)
            account.job = job


def jobs(text: str) -> list[Spec]:
    """The jobs of a CSV trace as Tiresias has them: a part with one GPU for each GPU of a job.

    Raises `ConfigError` naming the line, the column and the value.
    """
    specs = []
    for line, cells in rows(text, ("job_id", "num_gpu", "submit_time", "duration"), needed=_COLUMNS):
        arrival, seconds = (_number(cells, name, line, units.seconds) for name in ("submit_time", "duration"))
        gpus = _number(cells, "num_gpu", line)
        if not (seconds > 0 and gpus >= 1 and gpus.is_integer()):
            raise ConfigError(
                f"line {line}: num_gpu {gpus:g}, duration {seconds:g} s: whole GPUs from 1 and a time above 0"
            )
        specs.append(Spec(cells.get("job_id", str(line)), ((1.0,),) * int(gpus), arrival, seconds))
    if not specs:
        raise ConfigError("line 2: is missing; a trace needs at least one job")
    return specs


_COLUMNS = ("num_gpu", "submit_time", "duration")


def _number(
    cells: Mapping[str, str], name: str, line: int, unit: Callable[[object, str], float] | None = None
) -> float:
    cell = cells.get(name, "")
    try:
        value = float(cell)
    except ValueError:
        if unit is not None and cell:
            return unit(cell, f"line {line}: {name}")
        value = math.nan
    if not 0 <= value < math.inf:
        raise ConfigError(f"line {line}: {name}: {cell!r} is not a number from 0")
    return value


def tiresias_cluster(folder: Path) -> list[Worker]:
    """The cluster that comes with the trace."""
    with (folder / "n32g4.csv").open() as file:
        row = next(csv.DictReader(file))
    return cluster(int(row["num_switch"]) * int(row["num_node_p_switch"]), int(row["num_gpu_p_node"]))


def cluster(nodes: int, gpus: int) -> list[Worker]:
    """Equal workers with so many GPUs each."""
    return [Worker(f"n{at}", (float(gpus),)) for at in range(nodes)]


def mix(seed: int, jobs: int, gpus: int, load: float, long: float, ratio: float = 30.0) -> list[Spec]:
    """Poisson arrivals of short jobs and, for a share `long` of them, of long ones, by seed.

    Short ones take 60 s in the mean (exponential, at least 5 s), long ones `ratio` times that; gangs are 1, 2,
    4 or 8 GPUs. Arrivals are so dense that they keep `load` of all GPUs busy.
    """
    rng = random.Random(seed)
    mean = 60.0 * (1 - long + long * ratio) * (0.5 * 1 + 0.2 * 2 + 0.2 * 4 + 0.1 * 8)
    now, specs = 0.0, []
    for at in range(jobs):
        now += rng.expovariate(load * gpus / mean)
        gang = rng.choices((1, 2, 4, 8), (0.5, 0.2, 0.2, 0.1))[0]
        scale = 60.0 * (ratio if rng.random() < long else 1.0)
        specs.append(Spec(str(at), ((1.0,),) * gang, now, max(5.0, rng.expovariate(1 / scale))))
    return specs
