"""Who may run: jobs that share workers, admitted as gangs by least attained service, and three plain policies.

`sharing` uses it for the graphs of one command; `tools.papers` compares the policies.

A job is a graph whose operators are its parts: all of them are placed or none. `decide` says which jobs run
where; it is pure, and so are the steps of a job's account (`started`, `stopped`, `advanced`, `reviewed`). A
scheduler calls `advanced` for the time that went by, `reviewed`, and `decide`, at every arrival and completion
and when `due` says that a job's standing changes.

    attained service = size x seconds run,   size = mean over resources of (demand / capacity of all workers)

Least attained service has two queues. A job starts in the first; when its attained service passes a threshold
it goes to the second; when it has waited there longer than `patience` times what it ran, it is promoted to the
first again and its count restarts. (The paper's text says "promoted to Q2", which means the first.) Queues are
there to save preemptions, so jobs of one queue leave each other alone, but for one in the first queue that has
waited `patience` times as long as it may run there: whoever came later makes room for it.

Source: "ST-LAS" (spatio-temporal least attained service), section III; and Gu et al., "Tiresias", NSDI 2019.

>>> workers = (Worker("a", (2.0,)), Worker("b", (2.0,)))
>>> gang, small = Job("gang", ((1.0,),) * 4, 0.0), Job("small", ((1.0,),), 1.0)
>>> decide(Fifo(), [gang, small], workers)
{'gang': (0, 1, 0, 1)}
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeAlias

from flowedge.errors import ConfigError

Demand: TypeAlias = tuple[float, ...]
"""An amount of each resource (cores, GPUs, bytes, ...), in an order that jobs and workers share."""

_SLACK = 1e-9


@dataclass(frozen=True, slots=True)
class Worker:
    """A machine and how much it has of each resource."""

    name: str
    capacity: Demand

    def __post_init__(self) -> None:
        if not self.capacity or any(not amount > 0 for amount in self.capacity):
            raise ConfigError(f"{self.name}.capacity: {self.capacity} must be some amounts, each above 0")


@dataclass(frozen=True, slots=True)
class Job:
    """A job and its account; times are in seconds.

    `parts` are what its operators demand. `placement` is the position of each part's worker, empty while it
    does not run. `executed` seconds and `attained` service count since it came, was promoted or had its turn;
    `total` service since it arrived, for thresholds at quantiles of what was observed; `waited` since it last
    ran. `since` is when it entered its queue (1 or 2). Before it makes progress it must run for `owed` seconds
    to load a checkpoint. `remaining` seconds of work are known to a clairvoyant policy only.
    """

    name: str
    parts: tuple[Demand, ...]
    arrived: float
    remaining: float = math.inf
    placement: tuple[int, ...] = ()
    queue: int = 1
    since: float = -math.inf
    executed: float = 0.0
    attained: float = 0.0
    total: float = 0.0
    waited: float = 0.0
    owed: float = 0.0

    @property
    def running(self) -> bool:
        """Whether it holds workers."""
        return bool(self.placement)


class Policy(Protocol):
    """Puts jobs in order. It may preempt those that run, and may fill room behind a job that does not fit."""

    @property
    def preempts(self) -> bool: ...

    @property
    def backfills(self) -> bool: ...

    def rank(self, job: Job) -> tuple[Any, ...]:
        """The lower, the sooner it runs."""
        ...

    def ousts(self, job: Job, other: Job, size: float) -> bool:
        """Whether a job of this size may take the place of another, which comes later and runs."""
        ...

    def reviewed(self, job: Job, now: float) -> Job:
        """The job in the queue where it belongs now."""
        ...

    def due(self, job: Job, size: float) -> float:
        """Seconds until `ousts`, `reviewed` or the order of jobs may change while the job goes on as now."""
        ...


class _Strict:
    """A policy whose order is all that counts."""

    __slots__ = ()

    def ousts(self, job: Job, other: Job, size: float) -> bool:  # noqa: ARG002
        return True


@dataclass(frozen=True, slots=True)
class _Standing(_Strict):
    """A policy under which time changes no job's queue."""

    def reviewed(self, job: Job, now: float) -> Job:  # noqa: ARG002
        return job

    def due(self, job: Job, size: float) -> float:  # noqa: ARG002
        return math.inf


@dataclass(frozen=True, slots=True)
class Fifo(_Standing):
    """First come, first served, and nobody is preempted.

    Without `backfills` a gang that does not fit holds up all behind it.
    """

    backfills: bool = False
    preempts: bool = False

    def rank(self, job: Job) -> tuple[Any, ...]:
        return job.arrived, job.name


@dataclass(frozen=True, slots=True)
class ShortestRemaining(_Standing):
    """The shortest remaining time first. It must know how long every job takes."""

    backfills: bool = True
    preempts: bool = True

    def rank(self, job: Job) -> tuple[Any, ...]:
        return job.remaining + job.owed, job.arrived, job.name


@dataclass(frozen=True, slots=True)
class FairShare(_Strict):
    """Turns of `quantum` seconds of progress: whoever had one goes behind all others that are there."""

    quantum: float = 60.0
    backfills: bool = True
    preempts: bool = True

    def rank(self, job: Job) -> tuple[Any, ...]:
        return max(job.since, job.arrived), job.name

    def reviewed(self, job: Job, now: float) -> Job:
        if job.executed >= self.quantum - _SLACK:
            return replace(job, since=now, executed=0.0, attained=0.0)
        return job

    def due(self, job: Job, size: float) -> float:  # noqa: ARG002
        return job.owed + max(0.0, self.quantum - job.executed) if job.running else math.inf


@dataclass(frozen=True, slots=True)
class LeastAttained:
    """ST-LAS: two queues, each in the order of entry.

    A job is demoted when it has attained `threshold` (size x seconds), and promoted when it has waited
    `patience` times as long as it ran. The first queue preempts the second; within the first, only a job that
    has waited `patience` times the seconds after which it would be demoted preempts later ones.

    >>> policy = LeastAttained(threshold=10.0, patience=2.0)
    >>> policy.reviewed(Job("a", ((1.0,),), 0.0, executed=20.0, attained=10.0), now=20.0).queue
    2
    """

    threshold: float
    patience: float = 8.0
    backfills: bool = True
    preempts: bool = True

    def __post_init__(self) -> None:
        for name in ("threshold", "patience"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name}: {getattr(self, name)!r} is not above 0")

    def rank(self, job: Job) -> tuple[Any, ...]:
        return job.queue, max(job.since, job.arrived), job.arrived, job.name

    def ousts(self, job: Job, other: Job, size: float) -> bool:
        return job.queue < other.queue or (job.queue == 1 and self._urgent(job, size) <= _SLACK)

    def reviewed(self, job: Job, now: float) -> Job:
        if job.queue == 1 and job.attained >= self.threshold - _SLACK:
            return replace(job, queue=2, since=now)
        if job.queue == 2 and not job.running and job.waited >= self.patience * job.executed - _SLACK:
            return replace(job, queue=1, since=now, executed=0.0, attained=0.0, waited=0.0)
        return job

    def due(self, job: Job, size: float) -> float:
        if job.queue == 1 and job.running:
            return job.owed + max(0.0, self.threshold - job.attained) / size
        if job.running:
            return math.inf
        left = self._urgent(job, size) if job.queue == 1 else self.patience * job.executed - job.waited
        return left if job.queue == 2 or left > _SLACK else math.inf

    def _urgent(self, job: Job, size: float) -> float:
        """Seconds until a job that waits in the first queue has waited too long."""
        return self.patience * self.threshold / size - job.waited


def threshold_of(services: Sequence[float], quantile: float = 0.5) -> float:
    """A demotion threshold: a quantile of the attained services that were observed.

    >>> threshold_of([1.0, 2.0, 3.0, 40.0], 0.5)
    2.5
    """
    import numpy as np

    if not len(services) or not 0 <= quantile <= 1:
        raise ConfigError(
            f"quantile: {quantile!r} of {len(services)} observed services; some, and 0 to 1, needed"
        )
    return float(np.quantile(services, quantile))


def size(parts: Sequence[Demand], workers: Sequence[Worker]) -> float:
    """The share of all workers (0..1) that a job takes, as the mean over the resources.

    >>> size([(1.0, 4.0), (1.0, 0.0)], [Worker("a", (4.0, 8.0))])
    0.5
    """
    kinds = range(len(workers[0].capacity))
    shares = [
        sum(part[kind] for part in parts) / sum(worker.capacity[kind] for worker in workers) for kind in kinds
    ]
    return sum(shares) / len(shares)


def intrusiveness(
    used: Sequence[float],
    wanted: Sequence[float],
    thresholds: Sequence[float],
    weights: Sequence[float] | None = None,
) -> float:
    """How much a job would disturb a node: sum of w_k max(0, u_k + r_k - t_k) / (1 - t_k) over resources k.

    `used` and `wanted` are shares of the node (0..1), `thresholds` (below 1) the shares up to which nobody is
    disturbed; the weights are equal and add up to 1 unless given. 0 is none, 1 a node that is exactly full.

    >>> round(intrusiveness((0.6, 0.1), (0.3, 0.1), (0.8, 0.8)), 3)
    0.25
    """
    if any(not threshold < 1 for threshold in thresholds):
        raise ConfigError(f"thresholds: {tuple(thresholds)} must all be below 1")
    shares = weights or [1 / len(used)] * len(used)
    return sum(
        weight * max(0.0, u + r - t) / (1 - t)
        for weight, u, r, t in zip(shares, used, wanted, thresholds, strict=True)
    )


def decide(
    policy: Policy, jobs: Sequence[Job], workers: Sequence[Worker], *, threshold: float = 0.8
) -> dict[str, tuple[int, ...]]:
    """Which jobs run now, and the worker of each part.

    A job that runs on stays where it is, unless it made room and found other: then it moves, which takes a
    checkpoint like a preemption. In the policy's order each job is admitted as a gang if there is room, or if
    there is when later jobs are preempted, the last ones first and no more than needed. Parts go where they are
    least intrusive above `threshold`, then together, then where load is least.
    """
    ordered = sorted(jobs, key=policy.rank)
    if not policy.preempts:
        ordered.sort(key=lambda job: not job.running)
    free = [list(worker.capacity) for worker in workers]
    held: dict[str, tuple[int, ...]] = {}
    for job in jobs:
        if job.running:
            held[job.name] = job.placement
            _move(free, job.parts, job.placement, -1)
    # Demands that found no room since some was made, and how many jobs they could have ousted.
    hopeless: dict[tuple[Demand, ...], int] = {}
    running = [(position, job) for position, job in enumerate(ordered) if job.running]
    for position, job in enumerate(ordered):
        if job.name in held:
            continue
        victims = _victims(policy, job, position, running, held, workers)
        if policy.backfills and len(victims) <= hopeless.get(job.parts, -1):
            continue
        placement = placed(job.parts, free, workers, threshold)
        if placement is None and victims:
            placement = _preempting(job, victims, held, free, workers, threshold)
            if placement is not None:
                hopeless.clear()
        if placement is not None:
            held[job.name] = placement
            _move(free, job.parts, placement, -1)
        elif policy.backfills:
            hopeless[job.parts] = len(victims)
        else:
            break
    return held


def _victims(
    policy: Policy,
    job: Job,
    position: int,
    running: Sequence[tuple[int, Job]],
    held: Mapping[str, tuple[int, ...]],
    workers: Sequence[Worker],
) -> list[Job]:
    """Jobs that run and may have to make room for this one, the last one first."""
    if not policy.preempts:
        return []
    share = size(job.parts, workers)
    return [
        other
        for at, other in reversed(running)
        if at > position and other.name in held and policy.ousts(job, other, share)
    ]


def placed(
    parts: Sequence[Demand], free: Sequence[Sequence[float]], workers: Sequence[Worker], threshold: float = 0.8
) -> tuple[int, ...] | None:
    """A worker for each part, the largest first, or None where not all have room."""
    left = [list(amounts) for amounts in free]
    chosen: dict[int, int] = {}
    thresholds = [threshold] * len(workers[0].capacity)
    for at in sorted(range(len(parts)), key=lambda at: sum(parts[at]), reverse=True):
        part = parts[at]
        able = [
            position
            for position, amounts in enumerate(left)
            if all(need <= have + _SLACK for need, have in zip(part, amounts, strict=True))
        ]
        if not able:
            return None
        hosts = set(chosen.values())

        def cost(position: int, part: Demand = part, hosts: set[int] = hosts) -> tuple[float, bool, float, int]:
            capacity = workers[position].capacity
            used = [1 - have / all_ for have, all_ in zip(left[position], capacity, strict=True)]
            wanted = [need / all_ for need, all_ in zip(part, capacity, strict=True)]
            disturbs = round(intrusiveness(used, wanted, thresholds), 9)
            return disturbs, position not in hosts, round(sum(used), 9), position

        chosen[at] = min(able, key=cost)
        _move(left, (part,), (chosen[at],), -1)
    return tuple(chosen[at] for at in range(len(parts)))


def _preempting(
    job: Job,
    later: Sequence[Job],
    held: dict[str, tuple[int, ...]],
    free: list[list[float]],
    workers: Sequence[Worker],
    threshold: float,
) -> tuple[int, ...] | None:
    """Room for a job at the cost of later ones, the last of all first; those that need not go stay."""
    trial = [list(amounts) for amounts in free]
    victims: list[Job] = []
    placement = None
    for victim in later:
        victims.append(victim)
        _move(trial, victim.parts, held[victim.name], 1)
        placement = placed(job.parts, trial, workers, threshold)
        if placement is not None:
            break
    if placement is None:
        return None
    _move(trial, job.parts, placement, -1)
    for victim in reversed(victims):
        where = held.pop(victim.name)
        _move(trial, victim.parts, where, -1)
        if any(amount < -_SLACK for amounts in trial for amount in amounts):
            _move(trial, victim.parts, where, 1)
        else:
            held[victim.name] = where
    _move(trial, job.parts, placement, 1)
    free[:] = trial
    return placement


def _move(free: list[list[float]], parts: Sequence[Demand], placement: Sequence[int], sign: int) -> None:
    for part, position in zip(parts, placement, strict=True):
        for kind, amount in enumerate(part):
            free[position][kind] += sign * amount


def admissible(parts: Sequence[Demand], workers: Sequence[Worker]) -> bool:
    """Whether a job finds room on workers with nothing else to do; no policy ever runs one that does not."""
    return placed(parts, [worker.capacity for worker in workers], workers) is not None


def started(job: Job, placement: tuple[int, ...]) -> Job:
    """The job after it was admitted."""
    return replace(job, placement=placement, waited=0.0)


def stopped(job: Job, checkpoint: float) -> Job:
    """The job after it was preempted: it will have to run `checkpoint` seconds before it gets on."""
    return replace(job, placement=(), owed=max(job.owed, checkpoint), waited=0.0)


def advanced(job: Job, seconds: float, share: float) -> Job:
    """The job after so many seconds; `share` is its `size`. What it owes is no service."""
    if not job.running:
        return replace(job, waited=job.waited + seconds)
    paid = min(job.owed, seconds)
    ran = seconds - paid
    return replace(
        job,
        owed=job.owed - paid,
        executed=job.executed + ran,
        attained=job.attained + share * ran,
        total=job.total + share * ran,
        remaining=job.remaining - ran,
    )


def reviewed(policy: Policy, jobs: Mapping[str, Job], now: float) -> dict[str, Job]:
    """All jobs in the queues where they belong now."""
    return {name: policy.reviewed(job, now) for name, job in jobs.items()}
