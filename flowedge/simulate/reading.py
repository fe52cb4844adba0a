"""Scenario files: what a simulation is given, as TOML.

Times, sizes and bandwidths have units ("40 ms", "60 kB", "30 Mbit/s"), rates too ("60/min", "1600/s", "5/h").
Where a range makes sense a pair does it: `deadline = ["40 ms", "80 ms"]` is uniform between the two.

>>> import tomllib
>>> tiny = scenario(tomllib.loads('''
... name = "tiny"
... duration = "60 s"
... seed = 0                                  # 0 if left out
... warmup = "5 s"                            # requests from before do not count; 0 s if left out
... policies = ["power-of-two", "closest"]    # to compare; or --policy
... filter = "nominal"                        # one feasibility filter for all; each policy's own if left out
... detection = "1 s"                         # until a failure is known; 0 s if left out
... window = "10 s"                           # of the curves over time; 10 s if left out
... link_queue = "2 MB"                       # what may wait for a link; no bound if left out
... tiers = ["edge", "cloud"]                 # tiers, nodes and links as in a cluster file ...
... nodes = [
...     { name = "antenna", tier = "edge", kind = "box", cores = 0 },
...     { name = "server", tier = "cloud", kind = "xeon", cores = 32 },
... ]
... links = [{ between = ["antenna", "server"], bandwidth = "1 Gbit/s", delay = "8 ms", deviation = "1 ms" }]
...
... [[applications]]
... name = "people"
... deadline = ["100 ms", "200 ms"]
... size = "60 kB"                            # of a query; 0 if left out
... rate = [5, 15]                            # queries a second of one stream; 1 if left out
... accuracy = 0.2                            # at least; 0 if left out
... work = 1                                  # how much more of a worker a query takes; 1 if left out
...
... [[variants]]
... name = "yolo/gpu"
... time = "12 ms"                            # of one query
... deviation = "1 ms"                        # 0 s if left out
... slots = 2                                 # batches at one time; 1 if left out
... batch = 4                                 # queries in a batch at most; 1 if left out
... batch_time = "30 ms"                      # of a full batch
... capacity = 250                            # queries/s that dispatchers are told; slots x batch / batch_time
... queue = 50                                # who may wait; no bound if left out
... full = "newest"                           # who is dropped then: the "newest" or "oldest"
... drop_expired = false                      # whether to drop queries whose deadline is over
... accuracy = 0.4                            # or { people = 0.4 }: by application, for those it serves
...
... [[workers]]
... node = "server"
... variant = "yolo/gpu"
... count = 3
...
... [[sources]]
... node = "antenna"
... arrivals = "streams"                      # clients that come, stay and leave
... mix = { people = 1 }                      # or: application = "people"
... rate = "60/min"
... lifetime = "66 s"
... access = "2 ms"                           # one way between client and antenna; 0 s if left out
... bitrate = "100 Mbit/s"                    # of each client's link; no bound if left out
...
... [[sources]]
... node = "antenna"
... arrivals = "cameras"                      # periodic streams from the beginning to the end
... application = "people"
... count = 4
...
... [[sources]]
... node = "antenna"
... arrivals = "queries"                      # single queries, each dispatched by itself
... application = "people"
... count = 100                               # clients that send them
... rate = { mean = "20/s", amplitude = 0.5, period = "24 h", phase = "8 h" }
...
... [[failures]]
... node = "server"                           # its workers stop, and lose what they hold; links go on
... at = "20 s"
... until = "30 s"                            # for ever if left out
...
... [[failures]]
... link = ["antenna", "server"]
... between = "300 s"                         # mean time up, and ...
... repair = "5 s"                            # ... down, both exponential
... '''))
>>> [worker.name for worker in tiny.workers], tiny.sources[0].rate.peak
(['server/yolo/gpu/1', 'server/yolo/gpu/2', 'server/yolo/gpu/3'], 1.0)

A rate may have steps, too: `rate = { steps = [["0 s", "40/min"], ["300 s", "100/min"]] }`, and a daily wave on
top of them (`amplitude`, `period`, `phase`).

`arrivals = "trace"` with `trace = "FILE.csv"` (beside the scenario) has one row for each query or stream, under
a line of names: `time` (s) and `application`; `deadline` (s), `bytes`, `accuracy` where they are not drawn as
the application says; `rate` (1/s) and `duration` (s) make a row a stream. Lines need no order.

In place of tiers, nodes and links: `cluster = "FILE.toml"`, a cluster file beside the scenario, or
`[topology] graphml = "FILE.graphml"` with what `flowedge.planner.graphml` takes as defaults.

In place of applications, variants, workers and sources, a planner may decide what runs where:

    strategies = ["exact", "cloud-only"]      # to compare; or --policy

    [plan]
    problem = "FILE.toml"                     # a whole problem, as in flowedge.planner.inputs
    every = "60 s"                            # planned again with the load as it is; only once if left out
    on_failure = true                         # planned again after a failure or recovery; so if left out
    switch = "2 s"                            # until a new plan is in force; 0 s if left out
    load = { mean = 1, amplitude = 0.5, period = "600 s" }  # times the cameras' frame rates; 1 if left out
    dispatch = "power-of-two"                 # sends frames to the plan's replicas; by its routes if left out
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, cast

from flowedge.dispatch import FEASIBILITIES
from flowedge.errors import ConfigError
from flowedge.planner import graphml, inputs, units
from flowedge.planner.cluster import Cluster
from flowedge.planner.tables import File, Table
from flowedge.simulate.fields import are_shares, course, factor, known, one_of, per_second, spread, trace
from flowedge.simulate.scenario import (
    Failure,
    Kind,
    Planned,
    Rate,
    Scenario,
    Source,
    Variant,
    Worker,
)

_CLUSTER = ("tiers", "nodes", "links")
_DISPATCHED = ("applications", "variants", "workers", "sources", "policies", "filter", "cluster", "topology")
_PLANNED = ("plan", "strategies")
_ALL = ("name", "duration", "seed", "warmup", "detection", "window", "link_queue", "failures")


def load(path: Path) -> Scenario:
    """The scenario in a file. Raises `ConfigError` naming the field, its value and the mend."""
    return scenario(_toml(path), path.parent)


def scenario(data: Mapping[str, Any], folder: Path = Path()) -> Scenario:
    """A scenario from what tomllib read; files that it names are looked for in `folder`."""
    file = File(data, "the scenario", (*_ALL, *_CLUSTER, *_DISPATCHED, *_PLANNED))
    if "plan" in file.data:
        return _planned(file, folder)
    kinds = tuple(_kind(*table) for table in file.tables("applications"))
    names = tuple(kind.name for kind in kinds)
    variants = {each.name: each for each in (_variant(*table, names) for table in file.tables("variants"))}
    workers = tuple(each for table in file.tables("workers") for each in _workers(*table, variants))
    sources = tuple(_source(*table, names, folder) for table in file.tables("sources"))
    for field, found in (("applications", kinds), ("workers", workers), ("sources", sources)):
        if not found:
            raise ConfigError(f"{field}: is missing; a scenario without [plan] needs at least one [[{field}]]")
    feasible = file.text("filter") if "filter" in file.data else None
    if feasible is not None:
        one_of(feasible, "filter", tuple(FEASIBILITIES))
    return Scenario(
        cluster=_cluster(file, folder),
        kinds=kinds,
        workers=_numbered(workers),
        sources=sources,
        choices=file.names("policies", ("least-impedance",)),
        feasible=feasible,
        **_common(file),
    )


def _planned(file: File, folder: Path) -> Scenario:
    for name in (*_CLUSTER, *_DISPATCHED):
        if name in file.data:
            raise ConfigError(f"{name}: has no place beside [plan], whose problem has it all")
    table = Table(file.data["plan"], "plan", ("problem", "every", "on_failure", "switch", "load", "dispatch"))
    problem = inputs.problem(_toml(folder / table.text("problem")))
    planned = Planned(
        problem,
        table.quantity("every", units.seconds, math.inf),
        bool(table.get("on_failure", lambda value: isinstance(value, bool), "true or false", True)),
        table.quantity("switch", units.seconds, 0.0),
        course(table, "load", factor, Rate(((0.0, 1.0),))),
        table.text("dispatch") if "dispatch" in table.data else None,
    )
    strategies = file.names("strategies", ("exact",))
    return Scenario(cluster=problem.cluster, planned=planned, choices=strategies, **_common(file))


def _common(file: File) -> dict[str, Any]:
    return {
        "name": file.text("name"),
        "duration": file.quantity("duration", units.seconds),
        "seed": int(file.number("seed", 0)),
        "warmup": file.quantity("warmup", units.seconds, 0.0),
        "detection": file.quantity("detection", units.seconds, 0.0),
        "window": file.quantity("window", units.seconds, 10.0),
        "link_queue": file.quantity("link_queue", units.size, math.inf),
        "failures": tuple(_failure(*table) for table in file.tables("failures")),
    }


def _cluster(file: File, folder: Path) -> Cluster:
    given = [name for name in ("tiers", "cluster", "topology") if name in file.data]
    if len(given) != 1:
        raise ConfigError(
            f"{' and '.join(given) or 'tiers'}: one of tiers (with nodes), cluster, topology is needed"
        )
    if given == ["cluster"]:
        return inputs.cluster(_toml(folder / file.text("cluster")))
    if given == ["topology"]:
        table = Table(file.data["topology"], "topology", ("graphml", "bandwidth", "delay", "cores"))
        path = folder / table.text("graphml")
        return graphml.cluster(
            _read(path),
            bandwidth=table.quantity("bandwidth", units.bits_per_second, graphml.BANDWIDTH),
            delay=table.quantity("delay", units.seconds, graphml.DELAY),
            cores=table.number("cores", 0.0),
            where=str(path),
        )
    return inputs.cluster({name: file.data[name] for name in _CLUSTER if name in file.data})


def _kind(data: object, where: str) -> Kind:
    table = Table(data, where, ("name", "deadline", "size", "rate", "accuracy", "work"))
    kind = Kind(
        table.text("name"),
        spread(table, "deadline", units.seconds),
        spread(table, "size", units.size, 0.0),
        spread(table, "rate", factor, 1.0),
        spread(table, "accuracy", factor, 0.0),
        spread(table, "work", factor, 1.0),
    )
    for name in ("rate", "work"):
        if not getattr(kind, name).low > 0:
            raise ConfigError(f"{table.field(name)}: must be above 0")
    return kind


def _variant(data: object, where: str, applications: tuple[str, ...]) -> Variant:
    known = [
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
    table = Table(data, where, [*known, "drop_expired"])
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
    return Variant(
        table.text("name"),
        seconds,
        _accuracies(table, applications),
        batch_seconds,
        table.quantity("deviation", units.seconds, 0.0),
        table.count("slots", 1),
        batch,
        table.number("capacity", 0.0),
        table.number("queue", math.inf),
        cast(Literal["newest", "oldest"], full),
        table.switch("drop_expired"),
    )


def _accuracies(table: Table, applications: tuple[str, ...]) -> dict[str, float]:
    given = table.data.get("accuracy", 1.0)
    each = given if isinstance(given, Mapping) else dict.fromkeys(applications, given)
    found = {}
    for name, value in each.items():
        known(name, applications, table.field("accuracy"))
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
            raise ConfigError(f"{table.field('accuracy')}: {value!r} is not a share from 0 to 1")
        found[str(name)] = float(value)
    return found


def _workers(data: object, where: str, variants: Mapping[str, Variant]) -> list[Worker]:
    table = Table(data, where, ("node", "variant", "count"))
    name = table.text("variant")
    known(name, tuple(variants), table.field("variant"))
    node = table.text("node")
    return [Worker(f"{node}/{name}", node, variants[name])] * table.count("count", 1)


def _numbered(workers: tuple[Worker, ...]) -> tuple[Worker, ...]:
    """The same with names of their own."""
    seen: dict[str, int] = {}
    found = []
    for worker in workers:
        seen[worker.name] = number = seen.get(worker.name, 0) + 1
        found.append(Worker(f"{worker.name}/{number}", worker.node, worker.variant))
    return tuple(found)


_FIELDS = {
    "streams": ("rate", "lifetime"),
    "cameras": ("count",),
    "queries": ("rate", "count"),
    "trace": ("trace",),
}


def _source(data: object, where: str, applications: tuple[str, ...], folder: Path) -> Source:
    common = ("name", "node", "arrivals", "access", "bitrate")
    table = Table(data, where, (*common, "mix", "application", "rate", "lifetime", "count", "trace"))
    arrivals = table.text("arrivals")
    one_of(arrivals, table.field("arrivals"), tuple(_FIELDS))
    for name in table.data:
        if name not in (*common, *_FIELDS[arrivals], *(() if arrivals == "trace" else ("mix", "application"))):
            raise ConfigError(f'{table.field(name)}: has no meaning where arrivals = "{arrivals}"')
    source = Source(
        table.text("name", where),
        table.text("node"),
        cast(Literal["streams", "cameras", "queries", "trace"], arrivals),
        access=spread(table, "access", units.seconds, 0.0),
        bitrate=table.quantity("bitrate", units.bits_per_second, math.inf),
        mix=() if arrivals == "trace" else _mix(table, applications),
        rate=course(table, "rate", per_second) if "rate" in _FIELDS[arrivals] else Rate(((0.0, 0.0),)),
        lifetime=table.quantity("lifetime", units.seconds) if arrivals == "streams" else math.inf,
        count=table.count("count", None if arrivals == "cameras" else 100),
        rows=trace(_read(folder / table.text("trace")), applications) if arrivals == "trace" else (),
    )
    if not source.bitrate > 0:
        raise ConfigError(f"{table.field('bitrate')}: must be above 0 bit/s")
    return source


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


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(_read(path))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: is no TOML: {error}") from error


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
