"""CONTINUUM's experiments 1 - 4, run again in its own model, and what its rules and `flowedge` choose.

    python -m tools.papers.continuum --data DATA --csv continuum.csv --plot continuum.png

Tables I and II of the paper: 19 sources at 25 frames a second for 20 minutes on 11 edge nodes, 2 fog nodes and
a cloud node. They overload the tiers, so the figure is the makespan (hours until a source's last frame is
analysed, mean over sources), not a steady state. What the paper leaves open is read in several ways, each of
which is a block of rows; nothing is fitted to its results. Accuracy is a(r) = a1 - a2 exp(-r / a3), fitted to
YOLOv4's published AP50 on COCO (`planner/yolov4_coco_resolution.csv` under --data or FLOWEDGE_DATA).

`flowedge` and `continuum` as strategies plan a steady state. Here they are asked for the highest frame rate
that they can plan, found by bisection, at which the same frames are done soonest; services scale with cores.
They have the cores that the paper gives to YOLOv4 (4 on the fog, 4 on the cloud; "same cores"), and then all
of both fog nodes and the cloud ("all cores"), which the rows of Algorithm 1 do not use; pictures are JPEGs, and
each node has an uplink. `continuum` is told that Draw keeps a store: it is high-intensive, as in the paper.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from flowedge.planner.model.checker import violations
from flowedge.planner.model.cluster import Cluster, Link, Node
from flowedge.planner.model.plan import Plan
from flowedge.planner.model.problem import Application, CameraClass, Problem, Stage
from flowedge.planner.model.profiles import Accuracy, OutputSize, Profiles, Service, setting
from flowedge.planner.papers.continuum.models import (
    algorithm_1,
    distributions,
    highest_utility,
    rotated,
)
from flowedge.planner.papers.continuum.strategy import continuum
from flowedge.planner.solver.solve import flowedge
from flowedge.profiling.models import AccuracyModel, fit_accuracy
from tools.papers.continuum_model import (
    EDGES,
    FPS,
    FRAMES,
    JPEG,
    READINGS,
    SECONDS,
    SOURCES,
    UPLINK,
    ModelResult,
    Reading,
    outcome,
)
from tools.papers.files import add_data_option, data_folder, write_csv

FLOOR = 0.5
THETAS = (0.0001, 0.001, 0.003, 0.01, 0.03, 0.1)  # of utility, per hour; the paper gives none
F1 = {512: 0.7119}  # measured in experiment 1
PAPER = {"exp. 1": "5.7 h, F1 71.19 %", "exp. 2": "2.6 h, F1 63.82 %", "exp. 3": "1 h", "exp. 4": "1.3 h"}
HEAD = (
    "reading",
    "sources",
    "who",
    "at 416",
    "makespan h",
    "last h",
    "frame latency h",
    "AP50 %",
    "worst %",
    "F1 %",
)

Row = tuple[str, int, str, str, float, float, float, float, float, float]


def main() -> None:
    """Compute, print, and write what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_data_option(parser)
    parser.add_argument("--csv", type=Path)
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    accuracy = fitted(data_folder(parser, options))
    print(f"a(r) = {accuracy.a1:.3f} - {accuracy.a2:.3f} exp(-r / {accuracy.a3:.1f}), off by", end=" ")
    print(f"{100 * accuracy.residual:.1f} points at most; in the paper: {PAPER}\n")
    rows: list[Row] = []
    for reading in READINGS:
        for sources in (SOURCES, 1):
            rows += chosen(reading, sources, accuracy)
    for reading in (candidate for candidate in READINGS if candidate.bits == JPEG and not candidate.shared):
        for sources in (SOURCES, 1):
            for strategy in (partial(continuum, sorts={"Draw": "storage"}), flowedge):
                for spare in (False, True):
                    rows += planned(reading, sources, accuracy, strategy, spare=spare)
    _print(rows)
    print("\n" + remarks(rows))
    if options.csv:
        write_csv(options.csv, [HEAD, *rows])
    if options.plot:
        _plot(accuracy, rows, options.plot)


def fitted(folder: Path) -> AccuracyModel:
    """The fit to YOLOv4's AP50 by resolution."""
    lines = (folder / "planner" / "yolov4_coco_resolution.csv").read_text().splitlines()
    table = list(csv.DictReader(line for line in lines if not line.startswith("#")))
    return fit_accuracy([float(row["res"]) for row in table], [float(row["map50"]) / 100 for row in table])


def chosen(reading: Reading, sources: int, accuracy: AccuracyModel) -> list[Row]:
    """The two experiments, and what Algorithm 1 and the utility choose among all distributions."""
    counts = list(distributions(sources, 2))  # (at 512, at 416)
    outcomes = [outcome(reading, [1.0] * low + [0.0] * high, accuracy) for high, low in counts]
    first, second = ("exp. 1", "exp. 2") if sources > 1 else ("exp. 3", "exp. 4")
    rows = [_row(reading, sources, first, "0", outcomes[0], accuracy)]
    rows.append(_row(reading, sources, second, "1", outcomes[1], accuracy))
    if sources > 1:
        turned = outcome(reading, turns(sources, 1), accuracy)
        rows.append(_row(reading, sources, f"{second}, rotated", "1", turned, accuracy))
    estimates = [result.estimate for result in outcomes]
    for who, literal in (("Algorithm 1", False), ("Algorithm 1, literal", True)):
        best = algorithm_1(estimates, FLOOR, literal=literal)
        if best is not None:
            rows.append(_row(reading, sources, who, str(counts[best][1]), outcomes[best], accuracy))
            if sources > 1 and not literal:
                turned = outcome(reading, turns(sources, counts[best][1]), accuracy)
                rows.append(_row(reading, sources, f"{who}, rotated", str(counts[best][1]), turned, accuracy))
    for theta in THETAS:
        best = highest_utility(estimates, FLOOR, theta / 3600)
        if best is not None:
            rows.append(
                _row(reading, sources, f"U, {theta:g} / h", str(counts[best][1]), outcomes[best], accuracy)
            )
    return rows


def turns(sources: int, reduced: int) -> list[float]:
    """The part (0..1) of each source's frames that is reduced when sources take turns at it, slot by slot."""
    counts = (("512", sources - reduced), ("416", reduced))
    slots = [rotated(counts, slot) for slot in range(sources)]
    return [sum(slot[source] == "416" for slot in slots) / sources for source in range(sources)]


def planned(
    reading: Reading,
    sources: int,
    accuracy: AccuracyModel,
    strategy: Callable[[Problem], Plan],
    *,
    spare: bool,
) -> list[Row]:
    """What a strategy chooses when it is asked for the highest rate."""
    problem = steady(reading, sources, accuracy, spare=spare)
    low, high, best = 0.0, FPS, None
    while high - low > 0.002 * high:
        middle = (low + high) / 2
        application = replace(problem.applications[0], throughput=middle)
        asked = replace(problem, applications=(application,))
        plan = strategy(asked)
        if plan.found:
            assert not violations(asked, plan)
            low, best = middle, plan
        else:
            high = middle
    if best is None:
        return []
    small = sum(route.cameras for route in best.routes if dict(route.setting)["size"] == 416)
    mean = (small * accuracy(416) + (sources - small) * accuracy(512)) / sources
    seconds = FRAMES / low
    worst = accuracy(416 if small else 512)
    result = ModelResult(seconds, seconds, max(0.0, seconds - SECONDS) / 2, mean, worst)
    who = f"{best.strategy}, {'all' if spare else 'same'} cores"
    return [_row(reading, sources, who, str(small), result, accuracy)]


def steady(reading: Reading, sources: int, accuracy: AccuracyModel, *, spare: bool) -> Problem:
    """The testbed as a planning problem; the edge may only resize, as in the paper.

    Without `spare` cores there are those that the paper gives to YOLOv4, and Draw costs nothing.
    """
    relay = Node("switch", "edge", "none", 0)
    edges = [Node(f"edge{at}", "edge", "edge", 1, memory=2 * 2**30) for at in range(EDGES)]
    fogs = [Node(f"fog{at}", "fog", "nova", 4, memory=32 * 2**30) for at in range(2 if spare else 1)]
    cloud = Node("cloud", "cloud", "nova", 8 if spare else 4, memory=64 * 2**30)
    up, down = (1e9, UPLINK) if reading.shared else (UPLINK, 1e9)
    links = [Link(edge.name, "switch", up, 0.004) for edge in edges]
    links += [Link("switch", "fog0", down), *(Link("fog0", fog.name, 1e9, 0.001) for fog in fogs[1:])]
    links += [Link(fog.name, "cloud", 10e9, 0.005) for fog in fogs]
    sizes = (416, 512)
    draws = (0.5, 1, 2, 4) if spare else ()
    services = [Service("Draw", "nova", cores, 0.02 / cores, source="model") for cores in draws]
    for size in sizes:
        at_size = setting(size=size)
        seconds = 4 / reading.rate(size)  # of one core
        services += [
            Service("Yolo", "nova", cores, seconds / cores, setting=at_size, source="model")
            for cores in (1, 2, 3, 3.5, 4, 7, 8)
        ]
    stages = (Stage("video", source=True), Stage("Yolo", ("video",)), Stage("Draw", ("Yolo",)))
    classes = [
        CameraClass(f"at{at}", "yolo", f"edge{at}", FPS, len(range(at, sources, EDGES)))
        for at in range(min(EDGES, sources))
    ]
    return Problem(
        Cluster(("edge", "fog", "cloud"), (relay, *edges, *fogs, cloud), tuple(links)),
        (Application("yolo", stages, (("size", sizes),), accuracy=FLOOR),),
        tuple(classes),
        Profiles(
            tuple(services),
            tuple(OutputSize("video", reading.frame(size) / 8, setting=setting(size=size)) for size in sizes),
            tuple(Accuracy(accuracy(size), setting(size=size)) for size in sizes),
        ),
        minimize="resources",
        utilisation=0.999,
    )


def _row(
    reading: Reading, sources: int, who: str, small: str, result: ModelResult, accuracy: AccuracyModel
) -> Row:
    hours = [round(seconds / 3600, 3) for seconds in (result.makespan, result.last, result.latency)]
    f1 = F1[512] * result.accuracy / accuracy(512)
    shares = [round(100 * share, 2) for share in (result.accuracy, result.worst, f1)]
    return reading.name, sources, who, small, hours[0], hours[1], hours[2], shares[0], shares[1], shares[2]


def remarks(rows: Sequence[Row]) -> str:
    """Where the paper's figures do not follow from its own model."""
    gains: dict[str, float] = {}
    for name in {row[0] for row in rows}:
        spans = {row[2]: row[4] for row in rows if row[0] == name and row[1] == SOURCES}
        gains[name] = 100 * (1 - spans["exp. 2"] / spans["exp. 1"])
    least, most = min(gains.values()), max(gains.values())
    implied = 100 * (F1[512] - SOURCES * (F1[512] - 0.6382))
    return "\n".join(
        (
            f"Experiment 2 saves {least:.1f} to {most:.1f} % of the makespan; the paper reports 54.4 %.",
            f"One of 19 sources lowers the mean F1 by 7.37 points only if its own were {implied:.0f} %.",
            "Experiment 3 (1 h for one source) makes 19 h of the same work for 19, not 5.7 h.",
            "YOLOv4-416 is a third less work than -512, but slower in experiments 3 and 4 on as many cores.",
            "30 000 raw frames of 512 x 512 take 1.75 h at 30 Mbit/s, more than the 1 h of experiment 3.",
        )
    )


def _print(rows: Sequence[Row]) -> None:
    before = None
    for row in rows:
        if row[:2] != before:
            before = row[:2]
            print(f"\n{row[0]}; {row[1]} source{'s' if row[1] > 1 else ''}")
            print(f"{'':24}" + "".join(f"{name:>16}" for name in HEAD[3:]))
        print(f"{row[2]:24}" + f"{row[3]:>16}" + "".join(f"{value:16.2f}" for value in row[4:]))


def _plot(accuracy: AccuracyModel, rows: Sequence[Row], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 9), layout="constrained")
    axes: Any = figure.subplots(2, 2)
    for panel, rates in zip(axes[0], dict.fromkeys(reading.rates for reading in READINGS), strict=True):
        _makespans(panel, [reading for reading in READINGS if reading.rates == rates], accuracy, rows)
        panel.set(title=f"{SOURCES} sources, {rates}")
    axes[0, 0].plot([0, 1], [5.7, 2.6], "kx", label="paper, exp. 1 and 2")
    handles = axes[0, 0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside upper center", ncols=5, fontsize="small")
    _qualities(axes[1, 0], accuracy)
    _single(axes[1, 1], rows)
    figure.savefig(path, dpi=120)


def _makespans(panel: Any, readings: Sequence[Reading], accuracy: AccuracyModel, rows: Sequence[Row]) -> None:
    """Figure 3 for every number of reduced sources, and who chooses which."""
    from matplotlib.ticker import MaxNLocator

    marked: dict[str, list[tuple[int, float]]] = {}
    for reading in readings:
        outcomes = [
            outcome(reading, [1.0] * low + [0.0] * high, accuracy) for high, low in distributions(SOURCES, 2)
        ]
        panel.plot([result.makespan / 3600 for result in outcomes], label=reading.network)
        for _, sources, who, small, span, *_ in (row for row in rows if row[0] == reading.name):
            if sources == SOURCES and (who == "Algorithm 1" or who.endswith(" cores")):
                marked.setdefault(who, []).append((int(small), span))
    for (who, points), mark in zip(marked.items(), "osD^*", strict=False):
        panel.plot(*zip(*points, strict=True), mark, label=f"chosen: {who}", color="k", fillstyle="none", ms=9)
    panel.set(xlabel="sources at 416 x 416", ylabel="mean makespan, h", ylim=(0, None))
    panel.xaxis.set_major_locator(MaxNLocator(integer=True))


def _qualities(panel: Any, accuracy: AccuracyModel) -> None:
    """Figure 4 for every number of reduced sources."""
    from matplotlib.ticker import MaxNLocator

    means, worst = [], []
    for reduced in range(SOURCES + 1):
        share = reduced / SOURCES
        means.append(100 * F1[512] * (1 - share + share * accuracy(416) / accuracy(512)))
        worst.append(100 * F1[512] * (accuracy(416) / accuracy(512) if reduced else 1.0))
    panel.plot(means, label="mean; each source's too, when they take turns")
    panel.plot(worst, "--", label="worst source, without turns")
    panel.plot([0, 1], [71.19, 63.82], "kx", label="paper, exp. 1 and 2")
    panel.axhline(100 * FLOOR, color="0.6", label="floor")
    panel.set(title=f"{SOURCES} sources", xlabel="sources at 416 x 416", ylabel="F1, %", ylim=(45, 75))
    panel.xaxis.set_major_locator(MaxNLocator(integer=True))
    panel.legend(fontsize="small")


def _single(panel: Any, rows: Sequence[Row]) -> None:
    """Figure 5: a single source, at 512 and at 416."""
    spans = {(row[0], row[2]): row[4] for row in rows if row[1] == 1}
    names = [reading.name for reading in READINGS]
    for position, (who, label) in enumerate(
        (("exp. 3", "512 x 512 (exp. 3)"), ("exp. 4", "416 x 416 (exp. 4)"))
    ):
        places = [at + 0.4 * position - 0.2 for at in range(len(names))]
        panel.barh(places, [spans[name, who] for name in names], 0.36, label=label)
    chosen = [spans[name, "Algorithm 1"] for name in names]
    low = [spans[name, "exp. 4"] == span for name, span in zip(names, chosen, strict=True)]
    places = [at + (0.2 if is_low else -0.2) for at, is_low in enumerate(low)]
    panel.plot(chosen, places, "ko", fillstyle="none", label="Algorithm 1 chooses")
    panel.plot([1.0, 1.3], [-0.8, -0.8], "kx", label="paper: 1 h and 1.3 h")
    panel.set_yticks(range(len(names)), names, fontsize="small")
    panel.invert_yaxis()
    panel.set(title="One source", xlabel="makespan, h")
    panel.legend(fontsize="small")


if __name__ == "__main__":
    main()
