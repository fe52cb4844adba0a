"""Clusters, cameras, applications and profiles as plain data, as tomllib and json read it, with units.

The format is described in FORMATS.md beside this file; `flowedge.planner.files.documents` reads whole files.

>>> import tomllib
>>> file = tomllib.loads('''
... tiers = ["edge", "cloud"]
... nodes = [
...     { name = "jetson", tier = "edge", kind = "orin", cores = 6, power = { idle = "5 W", core = "2 W" } },
...     { name = "server", tier = "cloud", kind = "xeon", cores = 32, price = 1.2 },
... ]
... links = [{ between = ["jetson", "server"], bandwidth = "30 Mbit/s", delay = "4 ms" }]
... cameras = [{ name = "north", node = "jetson", fps = 25, count = 4 }]
... ''')
>>> cluster(file)["jetson"].power
Power(idle=5.0, core=2.0, gpu=0.0, shared=False)
>>> cameras(file, ["crossing"])
(CameraClass(name='north', application='crossing', node='jetson', fps=25.0, count=4),)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, TypeAlias, TypeVar, cast, get_args

from flowedge.errors import ConfigError
from flowedge.graph.knobs import suggestion
from flowedge.planner.files import graphml
from flowedge.planner.files.tables import File, Table, is_scalar
from flowedge.planner.model import units
from flowedge.planner.model.cluster import Cluster, Link, Node, Power
from flowedge.planner.model.problem import Application, CameraClass, Objective, Problem, Stage
from flowedge.planner.model.profiles import Accuracy, OutputSize, Profiles, Service, Setting
from flowedge.values import Scalar

T = TypeVar("T")

Files: TypeAlias = Callable[[str], str]
"""Gives the text of a file that another file names."""

_CLUSTER = ("topology", "tiers", "nodes", "links", "cameras")
_PROFILES = ("services", "outputs", "accuracies")
_CHOICES = ("applications", "minimize", "theta", "utilisation", "certainty")


def cluster(data: Mapping[str, Any], files: Files | None = None) -> Cluster:
    """The cluster of a cluster file. Raises `ConfigError` naming the field, its value and the mend.

    `files` is asked for the GraphML file that a [topology] names.
    """
    return _cluster(File(data, "the cluster", _CLUSTER), files)


def cameras(data: Mapping[str, Any], applications: Sequence[str]) -> tuple[CameraClass, ...]:
    """The cameras of a cluster file, which run these applications. Raises `ConfigError`."""
    return _cameras(File(data, "the cluster", _CLUSTER), applications)


def profiles(data: Mapping[str, Any]) -> Profiles:
    """The profiles of a profile file. Raises `ConfigError`."""
    return _profiles(File(data, "the profiles", _PROFILES))


def problem(data: Mapping[str, Any], files: Files | None = None) -> Problem:
    """A whole problem in one file. Raises `ConfigError`."""
    file = File(data, "the problem", (*_CLUSTER, *_PROFILES, *_CHOICES))
    applications = tuple(_application(table) for table in file.tables("applications"))
    minimize = file.text("minimize", "energy")
    if minimize not in get_args(Objective):
        raise ConfigError(f"minimize: {minimize!r} is none of {', '.join(get_args(Objective))}")
    return Problem(
        _cluster(file, files),
        applications,
        _cameras(file, [application.name for application in applications]),
        _profiles(file),
        cast(Objective, minimize),
        theta=file.number("theta", 0.0),
        utilisation=file.number("utilisation", 0.8),
        certainty=file.number("certainty", 2.0),
    )


def profiles_as_data(known_profiles: Profiles) -> dict[str, Any]:
    """Profiles as a profile file has them, for any writer of TOML or JSON; the reverse of `profiles`.

    Raises `ConfigError` for a knob whose value is None, which TOML does not have.
    """
    return {
        "services": [
            {
                "operator": entry.operator,
                "kind": entry.kind,
                "cores": entry.cores,
                "gpu": entry.gpu,
                "time": _written(entry.seconds, "s"),
                "deviation": _written(entry.deviation, "s"),
                "batch": entry.batch,
                "memory": _written(entry.memory, "B"),
                "work": _written(entry.work, "s"),
                "setting": _setting_as_data(entry.setting),
                "source": entry.source,
            }
            for entry in known_profiles.services
        ],
        "outputs": [
            {
                "operator": output.operator,
                "size": _written(output.bytes, "B"),
                "codec": output.codec,
                "setting": _setting_as_data(output.setting),
                "source": output.source,
            }
            for output in known_profiles.outputs
        ],
        "accuracies": [
            {"value": accuracy.value, "setting": _setting_as_data(accuracy.setting), "source": accuracy.source}
            for accuracy in known_profiles.accuracies
        ],
    }


def _cluster(file: File, files: Files | None) -> Cluster:
    nodes = tuple(_node(*table) for table in file.tables("nodes"))
    links = tuple(_link(*table) for table in file.tables("links"))
    if "topology" not in file.data:
        return Cluster(file.names("tiers"), nodes, links)
    base = _topology(Table(file.data["topology"], "topology", _TOPOLOGY), files)
    machines = tuple(({node.name: node for node in base.nodes} | {node.name: node for node in nodes}).values())
    tiers = file.names("tiers", tuple(dict.fromkeys(node.tier for node in machines)))
    return Cluster(tiers, machines, (*base.links, *links))


_TOPOLOGY = ("graphml", "bandwidth", "delay", "tier", "kind", "cores", "gpu")


def _topology(table: Table, files: Files | None) -> Cluster:
    name = table.text("graphml")
    if files is None:
        raise ConfigError(f"topology.graphml: {name!r} cannot be read from here; write nodes and links")
    node = Node(
        "any",
        table.text("tier", "network"),
        table.text("kind", "site"),
        table.number("cores", 0.0),
        gpu=table.number("gpu", 0.0),
    )
    return graphml.cluster(
        files(name),
        bandwidth=table.quantity("bandwidth", units.bits_per_second, graphml.BANDWIDTH),
        delay=table.quantity("delay", units.seconds, graphml.DELAY),
        node=node,
        where=name,
    )


def _node(data: object, where: str) -> Node:
    table = Table(data, where, ("name", "tier", "kind", "cores", "gpu", "memory", "power", "price"))
    power = Table(table.data.get("power", {}), f"{where}.power", ("idle", "core", "gpu", "shared"))
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
            power.switch("shared"),
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
    classes = []
    for data, where in file.tables("cameras"):
        table = Table(data, where, ("name", "application", "node", "fps", "count"))
        name, application = table.text("name"), table.text("application", only)
        if application not in applications:
            near = suggestion(application, applications)
            raise ConfigError(f"{where}.application: there is no application {application!r}{near}")
        fps, count = table.number("fps"), table.count("count", 1)
        classes.append(CameraClass(name, application, table.text("node"), fps, count))
    return tuple(classes)


def _profiles(file: File) -> Profiles:
    return Profiles(
        tuple(service(*table) for table in file.tables("services")),
        tuple(_output(*table) for table in file.tables("outputs")),
        tuple(_accuracy(*table) for table in file.tables("accuracies")),
    )


def service(data: object, where: str) -> Service:
    """One of a profile file's services; `where` is its place for messages. Raises `ConfigError`."""
    names = [
        "operator",
        "kind",
        "cores",
        "gpu",
        "time",
        "deviation",
        "batch",
        "memory",
        "work",
        "setting",
        "source",
    ]
    table = Table(data, where, names)
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
        work=table.quantity("work", units.seconds, 0.0),
    )


def _output(data: object, where: str) -> OutputSize:
    table = Table(data, where, ("operator", "size", "codec", "setting", "source"))
    return OutputSize(
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
        tuple(_stage(*stage) for stage in table.tables("stages")),
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
