"""The strategy `continuum`: categories, reserved resources, and resolutions by Algorithm 1.

Camera classes join one after the other. For every distribution of settings over the cameras of a class, tasks
are put into categories, resources are reserved for the intensive ones (Algorithms 2 and 4, in
`flowedge.planner.papers.continuum.reservation`), and each camera's stages go to the nearest node that has room
(Algorithm 3: capacity reserved for others is not free, and what is deployed is taken off). Of the distributions
that hold the goals, Algorithm 1 takes the fastest, or the one with the highest utility a - Theta T.

Latency is that of `flowedge.planner.options.routes.latency`: equations 1 - 3 with the delays of the links and
with waits; the capacity of links is shared by all cameras.

Source: Houmani, Balouek-Thomert, Caron, Parashar, "Enabling microservices management for Deep Learning
applications across the Edge-Cloud Continuum", SBAC-PAD 2021.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from flowedge.planner.model.checker import violations
from flowedge.planner.model.plan import Plan, Reason
from flowedge.planner.model.problem import Application, CameraClass, Problem
from flowedge.planner.model.profiles import Setting, holds
from flowedge.planner.options.delays import path_delays
from flowedge.planner.options.routes import RouteOption, assemble, latency
from flowedge.planner.papers.continuum.capacity import CapacityLedger, ServingRules
from flowedge.planner.papers.continuum.models import (
    Estimate,
    algorithm_1,
    distributions,
    highest_utility,
)
from flowedge.planner.papers.continuum.reservation import Category

Sort: TypeAlias = Literal["processing", "storage", "shallow", "model"]
"""What a stage is: pre- or post-processing, one that keeps a store of its own, a shallow or a deep model."""


def continuum(
    problem: Problem,
    start: Plan | None = None,  # noqa: ARG001
    *,
    utility: bool | None = None,
    literal: bool = False,
    sorts: Mapping[str, Sort] | None = None,
) -> Plan:
    """A plan by the rules of CONTINUUM.

    `utility` takes the distribution of the highest U = a - theta T instead of Algorithm 1's; by default where
    the problem maximises utility. `literal` follows the listings as printed where these terminate, and then may
    overbook machines, which the checker refuses. `sorts` says what stages are, see `categories`.

    Instances are first the fastest that the profiles have. Where not all cameras find a place with those, they
    are the ones that serve the most frames a second for their share of the machine, and at last these under
    full load.
    """
    by_utility = problem.minimize == "utility" if utility is None else utility
    why: tuple[str, ...] = ()
    tried = 0
    for fastest, levels in ((True, (0, 1, 2)), (False, (0, 1, 2)), (False, (0,))):
        attempt = _Attempt(problem, fastest, levels, by_utility, literal, sorts)
        chosen = attempt.run()
        tried += attempt.tried
        if isinstance(chosen, str):
            why = why or (chosen,)
            continue
        plan = assemble(problem, "continuum", chosen)
        broken = violations(problem, plan)
        if not broken:
            return Plan("continuum", plan.deployments, plan.routes, plan.value, tried=tried)
        why = why or broken
    return Plan("continuum", tried=tried, reason=Reason(why, proven=False))


def discover(problem: Problem, application: Application, data: Setting = ()) -> tuple[Setting, ...]:
    """Data-driven discovery: the variants of the pipeline that support data of these characteristics.

    A variant is there where every stage with a cost can be served under it.
    """
    profiles = problem.profiles
    return tuple(
        chosen
        for chosen in application.settings()
        if holds(data, chosen)
        and all(
            profiles.free(stage.name) or profiles.services_of(stage.name, chosen)
            for stage in application.stages
        )
    )


def categories(
    problem: Problem, application: Application, sorts: Mapping[str, Sort] | None = None
) -> dict[tuple[str, Setting], Category]:
    """The category of each stage under each setting, but for sources and stages without cost.

    Processing is non-intensive (NI), a shallow model low-intensive (LI), a store of its own high-intensive
    (HI). A deep model is LI in the variant of the least work, which is the lowest resolution, and HI in all
    others. What `sorts` does not say is told from the profiles: a singleton is a store, and a model is what
    costs differently under different settings or uses a GPU, or, where nothing does, the stage of most work.
    """
    works = _works(problem, application)
    guessed = _sorts(problem, application, works)
    by_stage: dict[tuple[str, Setting], Category] = {}
    for (name, chosen), work in works.items():
        sort = (sorts or {}).get(name, guessed[name])
        least = min(seconds for (other, _), seconds in works.items() if other == name)
        if sort == "model":
            by_stage[name, chosen] = "LI" if work <= least * (1 + 1e-9) else "HI"
        else:
            by_stage[name, chosen] = {"processing": "NI", "shallow": "LI", "storage": "HI"}[sort]  # type: ignore[assignment]
    return by_stage


def _works(problem: Problem, application: Application) -> dict[tuple[str, Setting], float]:
    """Seconds a frame of the quickest way to serve each stage under each setting."""
    return {
        (stage.name, chosen): min(service.seconds / service.batch for service in services)
        for chosen in discover(problem, application)
        for stage in application.stages
        if not stage.source
        and not problem.profiles.free(stage.name)
        and (services := problem.profiles.services_of(stage.name, chosen))
    }


def _sorts(
    problem: Problem, application: Application, works: Mapping[tuple[str, Setting], float]
) -> dict[str, Sort]:
    names = {name for name, _ in works}
    models = {
        name
        for name in names
        if len({works[key] for key in works if key[0] == name}) > 1
        or any(service.gpu for service in problem.profiles.services if service.operator == name)
    }
    if not models and works:
        models = {max(works, key=lambda key: works[key])[0]}
    singletons = {stage.name for stage in application.stages if stage.singleton}
    return {
        name: "storage" if name in singletons else "model" if name in models else "processing" for name in names
    }


@dataclass
class _Attempt:
    """One way to size instances: the fastest, or those that carry most for their share; at these loads."""

    problem: Problem
    fastest: bool
    levels: Sequence[int]
    by_utility: bool
    literal: bool
    sorts: Mapping[str, Sort] | None
    tried: int = 0
    rules: dict[str, list[ServingRules]] = field(default_factory=dict)

    def run(self) -> list[tuple[RouteOption, int]] | str:
        """The columns of all cameras, or why there are none."""
        self.delays = path_delays(self.problem.cluster, self.problem.certainty)
        ledger = CapacityLedger.empty(self.problem, literal=self.literal)
        chosen: list[tuple[RouteOption, int]] = []
        for camera in self.problem.classes:
            joined = self._join(ledger, camera)
            if joined is None:
                return f"continuum finds no place for every camera of {camera.name} within its goals"
            ledger, columns = joined
            chosen += columns
        return chosen

    def _join(
        self, ledger: CapacityLedger, camera: CameraClass
    ) -> tuple[CapacityLedger, list[tuple[RouteOption, int]]] | None:
        """Algorithm 1: the best distribution of settings over the cameras of a class, and what it leaves."""
        application = self.problem.application(camera.application)
        variants = [
            variant
            for variant in discover(self.problem, application)
            if self._accuracy(variant) >= application.accuracy
        ]
        if not variants:
            return None
        variants.sort(key=self._accuracy, reverse=True)
        joined: list[tuple[CapacityLedger, list[tuple[RouteOption, int]]]] = []
        estimates: list[Estimate] = []
        for rules in self._rules(application):
            for counts in distributions(camera.count, len(variants)):
                self.tried += 1
                shares = [(variant, count) for variant, count in zip(variants, counts, strict=True) if count]
                candidate = ledger.joined(camera, shares, rules)
                estimate = candidate and self._estimate(camera, application, candidate[1])
                if candidate and estimate:
                    joined.append(candidate)
                    estimates.append(estimate)
        if self.by_utility:
            best = highest_utility(estimates, application.accuracy, self.problem.theta)
        else:
            best = algorithm_1(estimates, application.accuracy, literal=self.literal)
        return None if best is None else joined[best]

    def _rules(self, application: Application) -> list[ServingRules]:
        if application.name not in self.rules:
            by_stage = categories(self.problem, application, self.sorts)
            self.rules[application.name] = [
                ServingRules(self.problem, application, by_stage, self.fastest, level) for level in self.levels
            ]
        return self.rules[application.name]

    def _estimate(
        self, camera: CameraClass, application: Application, columns: Sequence[tuple[RouteOption, int]]
    ) -> Estimate | None:
        """Equations 3 and 4 for a class; None where a camera would be late."""
        seconds = [latency(self.problem, application, column, self.delays) for column, _ in columns]
        if max(seconds) > application.latency:
            return None
        counts = [count for _, count in columns]
        total = sum(delay * count for delay, count in zip(seconds, counts, strict=True))
        accuracy = sum(self._accuracy(column.setting) * count for column, count in columns)
        return Estimate(total / camera.count, accuracy / camera.count)

    def _accuracy(self, chosen: Setting) -> float:
        return self.problem.profiles.accuracy(chosen) or 0.0
