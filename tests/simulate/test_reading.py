"""Scenario files."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flowedge.errors import ConfigError
from flowedge.simulate import reading
from flowedge.simulate.arrivals import draw
from flowedge.simulate.running import simulate
from flowedge.simulate.scenario import Range, Scenario
from tools.scenarios import aset

FOLDER = Path(aset.FOLDER)
TINY = """
name = "tiny"
duration = "10 s"
tiers = ["edge"]
nodes = [{ name = "here", tier = "edge", kind = "site", cores = 1 }]
[[applications]]
name = "people"
deadline = ["100 ms", "200 ms"]
[[variants]]
name = "yolo"
time = "10 ms"
[[workers]]
node = "here"
variant = "yolo"
[[sources]]
node = "here"
arrivals = "queries"
application = "people"
rate = "5/s"
"""


def read(text: str, folder: Path = FOLDER) -> Scenario:
    return reading.scenario(tomllib.loads(text), folder)


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.toml")), ids=lambda path: path.stem)
def test_every_scenario_file_here_can_be_read(path: Path) -> None:
    if "duration" not in tomllib.loads(path.read_text()):
        pytest.skip("a problem that another file plans")
    given = reading.load(path)
    assert given.choices
    assert given.duration > 0


@pytest.mark.parametrize("topology", ["dc-cloud", "co-dc-cloud", "full-edge"])
def test_aset_s_files_are_written_from_its_constants(topology: str) -> None:
    assert (FOLDER / f"aset-{topology}.toml").read_text() == aset.scenario(topology)


@pytest.mark.parametrize(("clients", "queries"), [(60, 1000), (100, 1667)])
def test_aset_s_workload_is_that_of_its_paper(clients: int, queries: int) -> None:
    given = reading.load(FOLDER / "aset-full-edge.toml").scaled(clients / 60)
    times = np.arange(300.0, 600.0, 10.0)
    rates = []
    for seed in range(12):
        arrivals = draw(replace(given, seed=seed))
        live = (arrivals.first[:, None] < times) & (arrivals.end[:, None] > times)
        rates.append(((1 / arrivals.gap) @ live).mean())
    # "Almost 1000" queries a second at lambda 60, "more than 1600" at 100.
    assert np.mean(rates) == pytest.approx(queries, rel=0.05)


def test_ranges_and_defaults() -> None:
    given = read(TINY)
    assert given.kinds[0].deadline == Range(0.1, 0.2)
    assert given.workers[0].variant.limit == 100.0
    assert given.workers[0].variant.accuracy == {"people": 1.0}
    assert given.choices == ("least-impedance",)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('duration = "10 s"', "duration = 10", "duration: 10 is not a quantity"),
        ('rate = "5/s"', 'rate = "5 Hz"', "sources\\[0\\].rate: '5 Hz' is not a rate"),
        ('rate = "5/s"', "", "sources\\[0\\].rate: is missing"),
        ('rate = "5/s"', 'rate = "5/s"\nlifetime = "3 s"', "lifetime: has no meaning"),
        ('rate = "5/s"', 'rate = { steps = [["3 s", "5/s"]] }', "the steps begin at \\[3.0\\]"),
        ('rate = "5/s"', 'rate = { mean = "5/s", amplitude = 2 }', "amplitude: 2.0 is not a share"),
        ('"queries"', '"querys"', "arrivals: 'querys' is none of streams"),
        ('application = "people"', 'application = "cars"', "there is no 'cars'"),
        ('application = "people"', "mix = { people = 0 }", "sources\\[0\\].mix"),
        (
            'variant = "yolo"',
            'variant = "jolo"',
            "variant: there is no 'jolo', did you mean|there is no 'jolo'",
        ),
        ('[[workers]]\nnode = "here"', '[[workers]]\nnode = "there"', "there is no node 'there'"),
        ('time = "10 ms"', 'time = "10 ms"\nbatch = 4', "batch and batch_time"),
        ('time = "10 ms"', 'time = "10 ms"\naccuracy = 40', "accuracy: 40 is not a share"),
        ('time = "10 ms"', 'time = "10 ms"\ncolour = 1', "variants\\[0\\].colour: there is no such field"),
        ('tiers = ["edge"]', 'tiers = ["edge"]\ncluster = "x.toml"', "one of tiers"),
        ('name = "tiny"', 'name = "tiny"\npolicies = []', "policies: \\[\\] names none"),
        ('name = "tiny"', 'name = "tiny"\nseed = 1.5', "seed: 1.5 is not a whole number from 0"),
        ('duration = "10 s"', 'duration = "0 s"', "duration: 0 s is not above 0 s"),
        ('name = "people"', 'name = "people"\naccuracy = 40', "accuracy: 40 is not a share"),
        ('time = "10 ms"', 'time = "10 ms"\nqueue = 2.5', "queue: 2.5 is not a whole number from 0"),
        (
            "[[workers]]",
            '[[variants]]\nname = "yolo"\ntime = "1 s"\n[[workers]]',
            "variants: two are named 'yolo'",
        ),
        ('name = "tiny"', 'name = "tiny"\nfilter = "all"', "filter: 'all' is none of compatible"),
        ('name = "tiny"', 'name = "tiny"\nwarmup = "10 s"', "warmup: 10 s leaves nothing"),
        ('name = "tiny"', 'name = "tiny"\nfailures = [{ node = "here" }]', "failures\\[0\\].at: is missing"),
        ('name = "tiny"', 'name = "tiny"\nfailures = [{ node = "x", at = "1 s" }]', "no node 'x'"),
        (
            'name = "tiny"',
            'name = "tiny"\nplan = { problem = "x.toml" }',
            "tiers: has no place beside \\[plan\\]",
        ),
    ],
)
def test_mistakes_are_named(old: str, new: str, message: str) -> None:
    assert old in TINY
    with pytest.raises(ConfigError, match=message):
        read(TINY.replace(old, new, 1))


def test_a_trace_and_a_cluster_beside_the_scenario(tmp_path: Path) -> None:
    (tmp_path / "here.toml").write_text(
        'tiers = ["edge"]\nnodes = [{name="here",tier="edge",kind="s",cores=1}]'
    )
    (tmp_path / "trace.csv").write_text("time,application,deadline\n2,people,\n1,people,0.001\n")
    text = TINY[: TINY.index('arrivals = "queries"')] + 'arrivals = "trace"\ntrace = "trace.csv"'
    text = text.replace('tiers = ["edge"]', 'cluster = "here.toml"').replace("nodes = ", "# ")
    results = simulate(read(text, tmp_path), "closest")
    assert (results.total, results.counts()["success"], results.counts()["rejected"]) == (2, 1, 1)


def test_a_trace_as_others_write_it() -> None:
    text = "\ufeffRATE;Time (ms);who;Duration\n\n# none\n;1500;me;\n25;2 s;;3 min\n"
    found = reading.trace(text, ("people",))
    assert [(each.time, each.application, each.rate) for each in found] == [
        (1.5, "people", 0),
        (2, "people", 25),
    ]


def test_a_trace_after_the_end_is_refused(tmp_path: Path) -> None:
    (tmp_path / "trace.csv").write_text("time\n1600000000\n")
    text = TINY[: TINY.index('arrivals = "queries"')] + 'arrivals = "trace"\ntrace = "trace.csv"'
    with pytest.raises(ConfigError, match=r"its trace begins at 1\.6e\+09 s, after the scenario's end at 10 s"):
        read(text, tmp_path)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("1,cars,", "line 2: application: there is no 'cars'"),
        (",people,", "line 2: time: is missing"),
        ("1,people,\nsoon,people,", "line 3: time: 'soon' is not a quantity"),
        ("-1,people,", "line 2: time: '-1' is not a number from 0"),
        ("", "line 2: is missing"),
        ("1,people,,,,25", "line 2: has 6 cells"),
    ],
)
def test_mistakes_in_a_trace_are_named_with_their_line(rows: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        reading.trace(f"time,application,deadline\n{rows}\n", ("people",))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("time,rate\n1,25\n", "line 2: rate and duration"),
        ("time,accuracy\n1,40\n", "line 2: accuracy: '40' is not a share"),
        ("1,people\n", "line 1: the column 'time' is missing"),
    ],
)
def test_mistakes_in_other_columns_are_named(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        reading.trace(text, ("people",))


def test_a_trace_with_an_unknown_column_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"there is no column 'aplication'.*application"):
        reading.trace("time,aplication\n", ("people",))


def test_a_topology_from_graphml(tmp_path: Path) -> None:
    graph: dict[str, Any] = {
        "nodes": '<node id="here"/><node id="b"/>',
        "edges": '<edge source="here" target="b"/>',
    }
    (tmp_path / "net.graphml").write_text("<graphml><graph>{nodes}{edges}</graph></graphml>".format(**graph))
    text = TINY.replace('tiers = ["edge"]', "").replace("nodes = ", "# ")
    given = read(
        text + '[topology]\ngraphml = "net.graphml"\ndelay = "3 ms"\nbandwidth = "5 Mbit/s"\n', tmp_path
    )
    assert (given.cluster.links[0].delay, given.cluster.links[0].bandwidth) == (0.003, 5e6)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml: cannot be read"):
        reading.load(tmp_path / "none.toml")
