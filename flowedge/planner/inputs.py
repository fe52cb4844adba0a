"""Clusters, cameras, applications and profiles as plain data, as tomllib and json read it, with units.

A cluster file names the tiers in order (nearest to the cameras first), the machines, the network between them,
and the cameras; those of a class are equal. `kind` is the name of a machine's hardware in the profiles.

>>> import tomllib
>>> file = tomllib.loads('''
... tiers = ["edge", "cloud"]
...
... [[nodes]]
... name = "jetson"
... tier = "edge"
... kind = "orin"
... cores = 6
... gpu = 1                                           # 0 if left out
... memory = "8 GiB"                                  # no bound if left out
... power = { idle = "5 W", core = "2 W", gpu = "15 W" }  # all 0 W if left out
...
... [[nodes]]
... name = "server"
... tier = "cloud"
... kind = "xeon"
... cores = 32
... price = 1.2                                       # for an hour of the whole node
...
... [[links]]
... between = ["jetson", "server"]
... bandwidth = "30 Mbit/s"
... delay = "4 ms"                                    # one way; 0 s if left out
... deviation = "1 ms"                                # of the delay; 0 s if left out
...
... [[cameras]]
... name = "north"
... node = "jetson"                                   # where their video arrives
... fps = 25
... count = 4                                         # 1 if left out
... ''')
>>> cluster(file)["jetson"].power
Power(idle=5.0, core=2.0, gpu=15.0)
>>> cameras(file, ["crossing"])
(CameraClass(name='north', application='crossing', node='jetson', fps=25.0, count=4),)

Where there are several applications, each class of cameras says `application = "..."`. A profile file has

>>> known = profiles(tomllib.loads('''
... [[services]]
... operator = "Detect"
... kind = "orin"
... cores = 1
... gpu = 0.5                                         # 0 if left out
... time = "12 ms"                                    # of one batch
... deviation = "1 ms"                                # 0 s if left out
... batch = 1                                         # frames at once; 1 if left out
... memory = "600 MiB"                                # 0 if left out
... setting = { size = 640 }                          # holds for every setting of the other knobs
... source = "table 2"                                # "measured" if left out
...
... [[outputs]]
... operator = "video"
... size = "120 kB"                                   # of one frame, as sent over the network
... codec = "jpeg"                                    # "raw" if left out
...
... [[accuracies]]
... value = 0.38
... setting = { size = 640 }
... '''))
>>> known.services[0].rate, profiles(profiles_as_data(known)) == known
(83.33333333333333, True)

An operator without services costs nothing. A file for a whole `problem` has all of these tables and

    minimize = "energy"          # or "resources", "cost", "utility" (then with theta = accuracy per second)
    utilisation = 0.8            # most load of a replica
    certainty = 2                # standard deviations of the links' delay that a goal for latency allows for

    [[applications]]
    name = "crossing"
    latency = "250 ms"           # no bound if left out
    accuracy = 0.3               # 0 if left out
    throughput = 10              # frames a second of each camera; all of them if left out
    knobs = { size = [416, 640] }
    stages = [
        { name = "video", source = true },
        { name = "Detect", inputs = ["video"] },
        { name = "Track", inputs = ["Detect"], keyed = true, singleton = false, tier = "cloud" },
    ]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, TypeVar, cast, get_args

from flowedge.errors import ConfigError
from flowedge.knobs import suggestion
from flowedge.planner import units
from flowedge.planner.cluster import Cluster, Link, Node, Power
from flowedge.planner.problem import Application, CameraClass, Objective, Problem, Stage
from flowedge.planner.profiles import Accuracy, Output, Profiles, Service, Setting
from flowedge.planner.tables import File, Table, is_scalar
from flowedge.values import Scalar

T = TypeVar("T")

_CLUSTER = ("tiers", "nodes", "links", "cameras")
_PROFILES = ("services", "outputs", "accuracies")
_CHOICES = ("applications", "minimize", "theta", "utilisation", "certainty")


def cluster(data: Mapping[str, Any]) -> Cluster:
    """The cluster of a cluster file. Raises `ConfigError` naming the field, its value and the mend."""
    return _cluster(File(data, "the cluster", _CLUSTER))


def cameras(data: Mapping[str, Any], applications: Sequence[str]) -> tuple[CameraClass, ...]:
    """The cameras of a cluster file, which run these applications. Raises `ConfigError`."""
    return _cameras(File(data, "the cluster", _CLUSTER), applications)


def profiles(data: Mapping[str, Any]) -> Profiles:
    """The profiles of a profile file. Raises `ConfigError`."""
    return _profiles(File(data, "the profiles", _PROFILES))


def problem(data: Mapping[str, Any]) -> Problem:
    """A whole problem in one file. Raises `ConfigError`."""
    file = File(data, "the problem", (*_CLUSTER, *_PROFILES, *_CHOICES))
    applications = tuple(_application(table) for table in file.tables("applications"))
    minimize = file.text("minimize", "energy")
    if minimize not in get_args(Objective):
        raise ConfigError(f"minimize: {minimize!r} is none of {', '.join(get_args(Objective))}")
    return Problem(
        _cluster(file),
        applications,
        _cameras(file, [each.name for each in applications]),
        _profiles(file),
        cast(Objective, minimize),
        theta=file.number("theta", 0.0),
        utilisation=file.number("utilisation", 0.8),
        certainty=file.number("certainty", 2.0),
    )


def profiles_as_data(known: Profiles) -> dict[str, Any]:
    """Profiles as a profile file has them, for any writer of TOML or JSON; the reverse of `profiles`.

    Raises `ConfigError` for a knob whose value is None, which TOML does not have.
    """
    return {
        "services": [
            {
                "operator": each.operator,
                "kind": each.kind,
                "cores": each.cores,
                "gpu": each.gpu,
                "time": _written(each.seconds, "s"),
                "deviation": _written(each.deviation, "s"),
                "batch": each.batch,
                "memory": _written(each.memory, "B"),
                "setting": _setting_as_data(each.setting),
                "source": each.source,
            }
            for each in known.services
        ],
        "outputs": [
            {
                "operator": each.operator,
                "size": _written(each.bytes, "B"),
                "codec": each.codec,
                "setting": _setting_as_data(each.setting),
                "source": each.source,
            }
            for each in known.outputs
        ],
        "accuracies": [
            {"value": each.value, "setting": _setting_as_data(each.setting), "source": each.source}
            for each in known.accuracies
        ],
    }


def _cluster(file: File) -> Cluster:
    nodes = tuple(_node(*table) for table in file.tables("nodes"))
    return Cluster(file.names("tiers"), nodes, tuple(_link(*table) for table in file.tables("links")))


def _node(data: object, where: str) -> Node:
    table = Table(data, where, ("name", "tier", "kind", "cores", "gpu", "memory", "power", "price"))
    power = Table(table.data.get("power", {}), f"{where}.power", ("idle", "core", "gpu"))
    return Node(
        table.text("name"),
        table.text("tier"),
        table.text("kind"),
        table.number("cores"),
        gpu=table.number("gpu", 0.0),
        memory=table.quantity("memory", units.size, float("inf")),
        power=Power(
            power.quantity("idle", units.watts, 0.0),
            power.quantity("core", units.watts, 0.0),
            power.quantity("gpu", units.watts, 0.0),
        ),
        price=table.number("price", 0.0),
    )


def _link(data: object, where: str) -> Link:
    table = Table(data, where, ("between", "bandwidth", "delay", "deviation"))
    ends = table.names("between")
    if len(ends) != 2 or ends[0] == ends[1]:
        raise ConfigError(f"{where}.between: {list(ends)!r} is not a pair of two nodes")
    return Link(
        *ends,
        table.quantity("bandwidth", units.bits_per_second),
        table.quantity("delay", units.seconds, 0.0),
        table.quantity("deviation", units.seconds, 0.0),
    )


def _cameras(file: File, applications: Sequence[str]) -> tuple[CameraClass, ...]:
    only = applications[0] if len(applications) == 1 else None
    found = []
    for data, where in file.tables("cameras"):
        table = Table(data, where, ("name", "application", "node", "fps", "count"))
        name, application = table.text("name"), table.text("application", only)
        if application not in applications:
            near = suggestion(application, applications)
            raise ConfigError(f"{where}.application: there is no application {application!r}{near}")
        fps, count = table.number("fps"), table.count("count", 1)
        found.append(CameraClass(name, application, table.text("node"), fps, count))
    return tuple(found)


def _profiles(file: File) -> Profiles:
    return Profiles(
        tuple(_service(*table) for table in file.tables("services")),
        tuple(_output(*table) for table in file.tables("outputs")),
        tuple(_accuracy(*table) for table in file.tables("accuracies")),
    )


def _service(data: object, where: str) -> Service:
    known = ["operator", "kind", "cores", "gpu", "time", "deviation", "batch", "memory", "setting", "source"]
    table = Table(data, where, known)
    seconds = table.quantity("time", units.seconds)
    if seconds == 0:
        raise ConfigError(f"{where}.time: {table.data['time']!r} is not a time above 0")
    return Service(
        table.text("operator"),
        table.text("kind"),
        table.number("cores"),
        seconds,
        gpu=table.number("gpu", 0.0),
        batch=table.count("batch", 1),
        deviation=table.quantity("deviation", units.seconds, 0.0),
        memory=table.quantity("memory", units.size, 0.0),
        setting=table.setting(),
        source=table.text("source", "measured"),
    )


def _output(data: object, where: str) -> Output:
    table = Table(data, where, ("operator", "size", "codec", "setting", "source"))
    return Output(
        table.text("operator"),
        table.quantity("size", units.size),
        table.text("codec", "raw"),
        table.setting(),
        table.text("source", "measured"),
    )


def _accuracy(data: object, where: str) -> Accuracy:
    table = Table(data, where, ("value", "setting", "source"))
    return Accuracy(table.share("value"), table.setting(), table.text("source", "measured"))


def _application(item: tuple[object, str]) -> Application:
    table = Table(*item, ("name", "latency", "accuracy", "throughput", "knobs", "stages"))
    knobs = table.get("knobs", _are_knobs, "a table of knobs, each with a list of values", {})
    return Application(
        table.text("name"),
        tuple(_stage(*each) for each in table.tables("stages")),
        knobs=tuple((name, tuple(values)) for name, values in sorted(knobs.items())),
        latency=table.quantity("latency", units.seconds, float("inf")),
        throughput=table.number("throughput") if "throughput" in table.data else None,
        accuracy=table.share("accuracy", 0.0),
    )


def _stage(data: object, where: str) -> Stage:
    table = Table(data, where, ("name", "inputs", "source", "keyed", "singleton", "tier"))
    return Stage(
        table.text("name"),
        table.names("inputs", ()),
        source=table.switch("source"),
        keyed=table.switch("keyed"),
        singleton=table.switch("singleton"),
        tier=table.text("tier") if "tier" in table.data else None,
    )


def _are_knobs(value: object) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(values, list) and values and all(map(is_scalar, values)) for values in value.values()
    )


def _setting_as_data(chosen: Setting) -> dict[str, Scalar]:
    for name, value in chosen:
        if value is None:
            raise ConfigError(f"setting.{name}: None cannot be written; give the knob a value with a name")
    return dict(chosen)


def _written(value: float, unit: str) -> str:
    """A quantity that reads back as exactly this number."""
    return f"{Decimal(repr(float(value))):f} {unit}"
