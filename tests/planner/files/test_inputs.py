"""Problems as files: there and back, and every mistake named by field, value and mend."""

from __future__ import annotations

import copy
import json
import re
import tomllib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowedge.errors import ConfigError
from flowedge.planner.files.inputs import cameras, cluster, problem, profiles, profiles_as_data
from flowedge.planner.model.checker import violations
from flowedge.planner.model.profiles import Accuracy, OutputSize, Profiles, Service, setting
from tests.planner.crossing import crossing, plan

FILE = """
tiers = ["edge", "cloud"]
minimize = "energy"

[[nodes]]
name = "pi"
tier = "edge"
kind = "pi"
cores = 4
memory = "4 GB"
power = { idle = "4 W", core = "1000 mW", shared = true }

[[nodes]]
name = "server"
tier = "cloud"
kind = "xeon"
cores = 8
memory = "16 GB"
power = { idle = "0.1 kW", core = "5 W", shared = true }
price = 2.0

[[nodes]]
name = "far"
tier = "cloud"
kind = "xeon"
cores = 8
memory = "16 GB"

[[links]]
between = ["pi", "server"]
bandwidth = "10 Mbit/s"
delay = "4 ms"
deviation = "1 ms"

[[links]]
between = ["server", "far"]
bandwidth = "1 Gbit/s"
delay = "30 ms"

[[cameras]]
name = "north"
node = "pi"
fps = 5
count = 2

[[applications]]
name = "people"
latency = "500 ms"
accuracy = 0.3
knobs = { size = [416, 640] }
stages = [
    { name = "video", source = true },
    { name = "Detect", inputs = ["video"] },
    { name = "Track", inputs = ["Detect"], keyed = true },
    { name = "Draw", inputs = ["video", "Track"] },
]
"""

DATA: dict[str, Any] = tomllib.loads(FILE) | profiles_as_data(crossing().profiles)


def test_a_whole_problem_in_one_file() -> None:
    read = problem(DATA)
    assert read == crossing()
    assert violations(read, plan()) == ()


def test_a_cluster_file_for_a_graph() -> None:
    file = {name: DATA[name] for name in ("tiers", "nodes", "links", "cameras")}
    assert cluster(file) == crossing().cluster
    assert cameras(file, ["people"]) == crossing().classes


def changed(*path: Any, to: Any = None, drop: bool = False) -> dict[str, Any]:
    """The data with the value at a path changed or left out."""
    data = copy.deepcopy(DATA)
    *way, last = path
    table: Any = data
    for step in way:
        table = table[step]
    if drop:
        del table[last]
    else:
        table[last] = to
    return data


MISTAKES: list[tuple[dict[str, Any], str]] = [
    (changed("node", to=[]), 'node: there is no such field; did you mean "nodes"?'),
    (changed("nodes", 0, "core", to=4), 'nodes[0].core: there is no such field; did you mean "cores"?'),
    (changed("nodes", 0, "cores", drop=True), "nodes[0].cores: is missing; a number from 0 is needed"),
    (changed("nodes", 0, "cores", to="4"), "nodes[0].cores: '4' is not a number from 0"),
    (changed("nodes", 0, "cores", to=True), "nodes[0].cores: True is not a number from 0"),
    (changed("nodes", 0, "cores", to=-4), "nodes[0].cores: -4 is not a number from 0"),
    (changed("nodes", 0, "gpu", to=float("nan")), "nodes[0].gpu: nan is not a number from 0"),
    (changed("nodes", 0, "memory", to=4), 'nodes[0].memory: 4 is not a quantity like "2 GiB"'),
    (changed("nodes", 0, "name", to=""), "nodes[0].name: '' is not a text"),
    (changed("nodes", 0, "tier", to="fog"), "pi.tier: 'fog' is none of edge, cloud"),
    (changed("nodes", 0, "power", to="5 W"), "nodes[0].power: '5 W' is not a table of idle, core, gpu, shared"),
    (changed("nodes", 0, "power", "shared", to=1), "nodes[0].power.shared: 1 is not true or false"),
    (changed("nodes", 0, "power", "idle", to=5), 'nodes[0].power.idle: 5 is not a quantity like "12 W"'),
    (changed("nodes", 0, "power", "busy", to="5 W"), "nodes[0].power.busy: there is no such field"),
    (changed("nodes", 1, to="server"), "nodes[1]: 'server' is not a table of name, tier"),
    (changed("nodes", to={}), "nodes: {} is not a list of tables [[nodes]]"),
    (changed("tiers", drop=True), 'tiers: is missing; a list of names like ["edge", "cloud"] is needed'),
    (changed("tiers", to="edge"), "tiers: 'edge' is not a list of names"),
    (changed("links", 0, "between", to=["pi"]), "links[0].between: ['pi'] is not a pair of two nodes"),
    (changed("links", 0, "between", to=["pi", "pi"]), "links[0].between: ['pi', 'pi'] is not a pair"),
    (changed("links", 0, "between", to=["pi", "moon"]), "link pi - moon: there is no node 'moon'"),
    (changed("links", 0, "bandwidth", drop=True), "links[0].bandwidth: is missing; a quantity with its unit"),
    (changed("links", 0, "bandwidth", to="10 Mb"), "links[0].bandwidth: '10 Mb' is not a quantity like"),
    (changed("cameras", 0, "count", to=1.5), "cameras[0].count: 1.5 is not a whole number from 1"),
    (changed("cameras", 0, "count", to=0), "cameras[0].count: 0 is not a whole number from 1"),
    (
        changed("cameras", 0, "application", to="peple"),
        "there is no application 'peple'; did you mean \"people\"?",
    ),
    (changed("cameras", 0, "node", to="moon"), "cameras north: there is no node 'moon'"),
    (
        changed("applications", 0, "knobs", to={"size": 416}),
        "is not a table of knobs, each with a list of values",
    ),
    (
        changed("applications", 0, "knobs", to={"size": []}),
        "is not a table of knobs, each with a list of values",
    ),
    (changed("applications", 0, "accuracy", to=38), "applications[0].accuracy: 38 is not a share from 0 to 1"),
    (changed("applications", 0, "stages", 0, "source", to=1), "stages[0].source: 1 is not true or false"),
    (
        changed("applications", 0, "stages", 1, "input", to=[]),
        "stages[1].input: there is no such field; did you mean",
    ),
    (changed("minimize", to="time"), "minimize: 'time' is none of energy, resources, cost, utility"),
    (changed("services", 0, "time", to=0.1), 'services[0].time: 0.1 is not a quantity like "4 ms"'),
    (changed("services", 0, "time", to="0 s"), "services[0].time: '0 s' is not a time above 0"),
    (changed("services", 0, "batch", to=0), "services[0].batch: 0 is not a whole number from 1"),
    (changed("services", 0, "setting", to={"size": [1]}), "is not a table of knobs and values"),
    (changed("outputs", 0, "bytes", to=4), "outputs[0].bytes: there is no such field"),
    (changed("accuracies", 0, "value", to=38), "accuracies[0].value: 38 is not a share from 0 to 1"),
]


@pytest.mark.parametrize(("data", "sentence"), MISTAKES, ids=[sentence for _, sentence in MISTAKES])
def test_a_mistake_is_named(data: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(sentence)):
        problem(data)


def test_with_several_applications_a_camera_says_which() -> None:
    with pytest.raises(ConfigError, match=re.escape("cameras[0].application: is missing; a text is needed")):
        cameras(DATA_OF_CLUSTER, ["people", "cars"])
    said = DATA_OF_CLUSTER | {"cameras": [DATA["cameras"][0] | {"application": "cars"}]}
    assert [each.application for each in cameras(said, ["people", "cars"])] == ["cars"]


DATA_OF_CLUSTER = {name: DATA[name] for name in ("tiers", "nodes", "links", "cameras")}

amounts = st.floats(0, 1e12) | st.sampled_from([1e-9, 5e-324, 0.1 + 0.2])
times = st.floats(1e-9, 1e6)
settings_ = st.dictionaries(
    st.text(min_size=1, max_size=5), st.integers(-99, 99) | st.text(max_size=5) | st.floats(-9, 9), max_size=3
).map(lambda knobs: setting(**knobs))
names = st.text(min_size=1, max_size=8)
services = st.builds(
    Service,
    operator=names,
    kind=names,
    cores=amounts,
    seconds=times,
    gpu=amounts,
    batch=st.integers(1, 99),
    deviation=amounts,
    memory=amounts,
    setting=settings_,
    source=names,
)
outputs = st.builds(OutputSize, operator=names, bytes=amounts, codec=names, setting=settings_, source=names)
accuracies = st.builds(Accuracy, value=st.floats(0, 1), setting=settings_, source=names)


@given(st.lists(services, max_size=3), st.lists(outputs, max_size=3), st.lists(accuracies, max_size=3))
def test_profiles_come_back_as_they_were(
    some: list[Service], others: list[OutputSize], known: list[Accuracy]
) -> None:
    written = Profiles(tuple(some), tuple(others), tuple(known))
    for through in (through_json, lambda data: data):
        assert profiles(through(profiles_as_data(written))) == written


def through_json(data: dict[str, Any]) -> Any:
    return json.loads(json.dumps(data, allow_nan=False))


def test_a_knob_that_toml_cannot_hold_is_refused() -> None:
    known = Profiles(accuracies=(Accuracy(0.5, setting(height=None)),))
    with pytest.raises(ConfigError, match=re.escape("setting.height: None cannot be written")):
        profiles_as_data(known)


@pytest.mark.parametrize("read", [cluster, profiles, problem])
def test_what_is_no_file_is_refused(read: Callable[[Any], Any]) -> None:
    with pytest.raises(ConfigError, match="is not a table of"):
        read([])
