"""Scenario files: what a simulation is given, as TOML.

The format is described in `flowedge/planner/FORMATS.md`.

>>> import tomllib
>>> tiny = scenario(tomllib.loads('''
... name = "tiny"
... duration = "60 s"
... tiers = ["edge"]
... nodes = [{ name = "box", tier = "edge", kind = "jetson", cores = 6 }]
... applications = [{ name = "people", deadline = ["100 ms", "200 ms"], rate = [5, 15] }]
... variants = [{ name = "yolo", time = "12 ms", slots = 2 }]
... workers = [{ node = "box", variant = "yolo", count = 3 }]
... sources = [{ node = "box", arrivals = "cameras", application = "people", count = 8 }]
... '''))
>>> [worker.name for worker in tiny.workers], tiny.kinds[0].deadline
(['box/yolo/1', 'box/yolo/2', 'box/yolo/3'], Range(low=0.1, high=0.2))
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, cast

from flowedge.dispatch import FEASIBILITIES
from flowedge.errors import ConfigError
from flowedge.planner.files import documents, inputs
from flowedge.planner.files.tables import File, Table
from flowedge.planner.model import units
from flowedge.planner.model.cluster import Cluster
from flowedge.simulate.fields import (
    all_different,
    are_shares,
    course,
    factor,
    known,
    one_of,
    per_second,
    share,
    spread,
    trace,
)
from flowedge.simulate.scenario import (
    Failure,
    PlanningLoop,
    Rate,
    RequestKind,
    RequestSource,
    Scenario,
    ServedModel,
    SimulatedWorker,
    TraceRow,
)

_CLUSTER = ("topology", "tiers", "nodes", "links")
_DISPATCHED = ("applications", "variants", "workers", "sources", "policies", "filter", "cluster")
_PLANNED = ("plan", "strategies")
_ALL = ("name", "duration", "seed", "warmup", "detection", "window", "link_queue", "failures")


def load(path: Path) -> Scenario:
    """The scenario in a file. Raises `ConfigError` naming the field, its value and the mend."""
    return scenario(documents.tables(str(path), _read(path)), path.parent)


def scenario(data: Mapping[str, Any], folder: Path = Path()) -> Scenario:
    """A scenario from what tomllib read; files that it names are looked for in `folder`."""
    file = File(data, "the scenario", (*_ALL, *_CLUSTER, *_DISPATCHED, *_PLANNED))
    if "plan" in file.data:
        return _planned(file, folder)
    kinds = tuple(_kind(*table) for table in file.tables("applications"))
    names = tuple(kind.name for kind in kinds)
    models = [_variant(*table, names) for table in file.tables("variants")]
    all_different(names, "applications")
    all_different([model.name for model in models], "variants")
    variants = {model.name: model for model in models}
    workers = tuple(worker for table in file.tables("workers") for worker in _workers(*table, variants))
    sources = tuple(_source(*table, names, folder) for table in file.tables("sources"))
    for field, entries in (("applications", kinds), ("workers", workers), ("sources", sources)):
        if not entries:
            raise ConfigError(f"{field}: is missing; a scenario without [plan] needs at least one [[{field}]]")
    feasible = file.text("filter") if "filter" in file.data else None
    if feasible is not None:
        one_of(feasible, "filter", tuple(FEASIBILITIES))
    return Scenario(
        cluster=_cluster(file, folder),
        kinds=kinds,
        workers=_numbered(workers),
        sources=sources,
        choices=_choices(file, "policies", "least-impedance"),
        feasible=feasible,
        **_common(file),
    )


def _planned(file: File, folder: Path) -> Scenario:
    for name in (*_CLUSTER, *_DISPATCHED):
        if name in file.data:
            raise ConfigError(f"{name}: has no place beside [plan], whose problem has it all")
    table = Table(file.data["plan"], "plan", ("problem", "every", "on_failure", "switch", "load", "dispatch"))
    problem = documents.problem(*_beside(folder, table.text("problem")))
    planned = PlanningLoop(
        problem,
        table.quantity("every", units.seconds, math.inf),
        bool(table.get("on_failure", lambda value: isinstance(value, bool), "true or false", True)),
        table.quantity("switch", units.seconds, 0.0),
        course(table, "load", factor, Rate(((0.0, 1.0),))),
        table.text("dispatch") if "dispatch" in table.data else None,
    )
    if not planned.load.peak > 0:
        raise ConfigError("plan.load: is 0 all the time; a number above 0 is needed")
    strategies = _choices(file, "strategies", "exact")
    return Scenario(cluster=problem.cluster, planned=planned, choices=strategies, **_common(file))


def _choices(file: File, name: str, default: str) -> tuple[str, ...]:
    names = file.names(name, (default,))
    if not names:
        raise ConfigError(f'{name}: [] names none; write at least one, such as ["{default}"]')
    return names


def _common(file: File) -> dict[str, Any]:
    return {
        "name": file.text("name"),
        "duration": file.quantity("duration", units.seconds),
        "seed": file.whole("seed", 0),
        "warmup": file.quantity("warmup", units.seconds, 0.0),
        "detection": file.quantity("detection", units.seconds, 0.0),
        "window": file.quantity("window", units.seconds, 10.0),
        "link_queue": file.quantity("link_queue", units.size, math.inf),
        "failures": tuple(_failure(*table) for table in file.tables("failures")),
    }


def _cluster(file: File, folder: Path) -> Cluster:
    present = [name for name in ("tiers", "topology", "cluster") if name in file.data]
    if not present or (len(present) > 1 and "cluster" in present):
        wrong = " and ".join(present) or "tiers"
        raise ConfigError(f"{wrong}: one of tiers (with nodes), topology and cluster is needed")
    if present == ["cluster"]:
        return documents.cluster(*_beside(folder, file.text("cluster")))
    tables = {name: file.data[name] for name in _CLUSTER if name in file.data}
    return inputs.cluster(tables, lambda name: _read(folder / name))


def _kind(data: object, where: str) -> RequestKind:
    table = Table(data, where, ("name", "deadline", "size", "rate", "accuracy", "work"))
    kind = RequestKind(
        table.text("name"),
        spread(table, "deadline", units.seconds),
        spread(table, "size", units.size, 0.0),
        spread(table, "rate", factor, 1.0),
        spread(table, "accuracy", share, 0.0),
        spread(table, "work", factor, 1.0),
    )
    for name in ("rate", "work"):
        if not getattr(kind, name).low > 0:
            raise ConfigError(f"{table.field(name)}: must be above 0")
    return kind


def _variant(data: object, where: str, applications: tuple[str, ...]) -> ServedModel:
    fields = [
        "name",
        "time",
        "deviation",
        "slots",
        "batch",
        "batch_time",
        "capacity",
        "queue",
        "full",
        "accuracy",
    ]
    table = Table(data, where, [*fields, "drop_expired"])
    seconds = table.quantity("time", units.seconds)
    batch = table.count("batch", 1)
    if (batch > 1) != ("batch_time" in table.data):
        raise ConfigError(f"{where}: batch and batch_time (of a full batch) go together")
    full = table.text("full", "newest")
    one_of(full, table.field("full"), ("newest", "oldest"))
    batch_seconds = table.quantity("batch_time", units.seconds, seconds)
    if not 0 < seconds <= batch_seconds:
        raise ConfigError(
            f"{where}: 0 s < time <= batch_time is needed, not {seconds:g} s and {batch_seconds:g} s"
        )
    return ServedModel(
        table.text("name"),
        seconds,
        _accuracies(table, applications),
        batch_seconds,
        table.quantity("deviation", units.seconds, 0.0),
        table.count("slots", 1),
        batch,
        table.number("capacity", 0.0),
        table.whole("queue") if "queue" in table.data else math.inf,
        cast(Literal["newest", "oldest"], full),
        table.switch("drop_expired"),
    )


def _accuracies(table: Table, applications: tuple[str, ...]) -> dict[str, float]:
    entry = table.data.get("accuracy", 1.0)
    by_application = entry if isinstance(entry, Mapping) else dict.fromkeys(applications, entry)
    accuracies = {}
    for name, value in by_application.items():
        known(name, applications, table.field("accuracy"))
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
            raise ConfigError(f"{table.field('accuracy')}: {value!r} is not a share from 0 to 1")
        accuracies[str(name)] = float(value)
    return accuracies


def _workers(data: object, where: str, variants: Mapping[str, ServedModel]) -> list[SimulatedWorker]:
    table = Table(data, where, ("node", "variant", "count"))
    name = table.text("variant")
    known(name, tuple(variants), table.field("variant"))
    node = table.text("node")
    return [SimulatedWorker(f"{node}/{name}", node, variants[name])] * table.count("count", 1)


def _numbered(workers: tuple[SimulatedWorker, ...]) -> tuple[SimulatedWorker, ...]:
    """The same with names of their own."""
    seen: dict[str, int] = {}
    numbered = []
    for worker in workers:
        seen[worker.name] = number = seen.get(worker.name, 0) + 1
        numbered.append(SimulatedWorker(f"{worker.name}/{number}", worker.node, worker.variant))
    return tuple(numbered)


_FIELDS = {
    "streams": ("rate", "lifetime"),
    "cameras": ("count",),
    "queries": ("rate", "count"),
    "trace": ("trace",),
}


def _source(data: object, where: str, applications: tuple[str, ...], folder: Path) -> RequestSource:
    common = ("name", "node", "arrivals", "access", "bitrate")
    table = Table(data, where, (*common, "mix", "application", "rate", "lifetime", "count", "trace"))
    arrivals = table.text("arrivals")
    one_of(arrivals, table.field("arrivals"), tuple(_FIELDS))
    for name in table.data:
        if name not in (*common, *_FIELDS[arrivals], *(() if arrivals == "trace" else ("mix", "application"))):
            raise ConfigError(f'{table.field(name)}: has no meaning where arrivals = "{arrivals}"')
    source = RequestSource(
        table.text("name", where),
        table.text("node"),
        cast(Literal["streams", "cameras", "queries", "trace"], arrivals),
        access=spread(table, "access", units.seconds, 0.0),
        bitrate=table.quantity("bitrate", units.bits_per_second, math.inf),
        mix=() if arrivals == "trace" else _mix(table, applications),
        rate=course(table, "rate", per_second) if "rate" in _FIELDS[arrivals] else Rate(((0.0, 0.0),)),
        lifetime=table.quantity("lifetime", units.seconds) if arrivals == "streams" else math.inf,
        count=table.count("count", None if arrivals == "cameras" else 100),
        rows=_rows(folder, table.text("trace"), applications) if arrivals == "trace" else (),
    )
    if not source.bitrate > 0:
        raise ConfigError(f"{table.field('bitrate')}: must be above 0 bit/s")
    return source


def _rows(folder: Path, name: str, applications: tuple[str, ...]) -> tuple[TraceRow, ...]:
    with documents.named(name):
        return trace(_read(folder / name), applications)


def _mix(table: Table, applications: tuple[str, ...]) -> tuple[tuple[str, float], ...]:
    if ("mix" in table.data) == ("application" in table.data):
        raise ConfigError(f"{table.where}: needs either an application or a mix of some")
    if "application" in table.data:
        mix: Mapping[str, float] = {table.text("application"): 1.0}
    else:
        mix = table.get("mix", are_shares, "a table of applications and their shares")
    for name in mix:
        known(name, applications, table.field("mix" if "mix" in table.data else "application"))
    return tuple((name, float(share)) for name, share in mix.items())


def _failure(data: object, where: str) -> Failure:
    table = Table(data, where, ("node", "link", "at", "until", "between", "repair"))
    if ("node" in table.data) == ("link" in table.data):
        raise ConfigError(f"{where}: needs either a node or a link")
    if ("between" in table.data) != ("repair" in table.data):
        raise ConfigError(f"{where}: between (mean time up) and repair (mean time down) go together")
    random = "between" in table.data
    if not random and "at" not in table.data:
        raise ConfigError(f"{where}.at: is missing; a time is needed (or between and repair)")
    ends = table.names("link") if "link" in table.data else ()
    if ends and len(ends) != 2:
        raise ConfigError(f"{where}.link: {list(ends)!r} is not a pair of two nodes")
    start, end = table.quantity("at", units.seconds, 0.0), table.quantity("until", units.seconds, math.inf)
    if not start < end:
        raise ConfigError(f"{where}.until: {end:g} s is not after {start:g} s")
    means = [table.quantity(name, units.seconds) if random else None for name in ("between", "repair")]
    if random and not all(means):
        raise ConfigError(f"{where}: between and repair must be above 0 s")
    return Failure((ends[0], ends[1]) if ends else table.text("node"), start, end, *means)


def _beside(folder: Path, name: str) -> tuple[str, str, inputs.Files]:
    """The name of a file in a folder, its text, and what reads others that it names."""
    return name, _read(folder / name), lambda other: _read(folder / other)


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is no text file in UTF-8") from error
